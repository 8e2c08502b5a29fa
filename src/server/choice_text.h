// The text of a choice as its tokens come: what is certain is given out, and it ends at the first
// of its stops.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "engine/batch.h"
#include "io/text.h"
#include "tokenizer/tokenizer.h"

namespace watersic {

struct PlacedToken {
  WrittenToken token;
  int64_t character = 0;  // of the text, where the token's begins
};

struct TextPiece {
  std::string text;  // UTF-8
  std::vector<PlacedToken> tokens;

  bool empty() const { return text.empty() && tokens.empty(); }
  void append(TextPiece&& next);
};

class ChoiceText {
 public:
  // `tokens`: whether pieces tell them.
  ChoiceText(const Tokenizer& tokenizer, std::vector<std::string> stops, bool tokens)
      : tokenizer_(&tokenizer), stops_(std::move(stops)), tells_tokens_(tokens) {}

  // What is certain with one more token: the beginning of what may be a stop is held back.
  TextPiece push(const WrittenToken& token);
  // A stop was found, and the text ends before it.
  bool stopped() const { return stopped_; }
  // What is held back, where nothing follows.
  TextPiece finish();

 private:
  TextPiece give(const std::string& bytes, bool last);

  const Tokenizer* tokenizer_;
  std::vector<std::string> stops_;
  bool tells_tokens_;
  bool stopped_ = false;
  Utf8Stream utf8_;
  std::string held_;
  int64_t given_ = 0, known_ = 0, characters_ = 0;  // the first two in bytes
  struct Pending {
    PlacedToken token;
    int64_t byte = 0;
  };
  std::deque<Pending> pending_;
};

}  // namespace watersic
