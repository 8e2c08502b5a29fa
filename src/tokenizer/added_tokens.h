// The tokens that stand beside the model's vocabulary ("<|endoftext|>"): they are cut out of a text
// before the model sees it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/regex.h"

namespace watersic {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;      // no part of the text: decode() can skip it
  bool normalized = false;   // is looked for, normalized, in the normalized text
  bool single_word = false;  // only where no word character touches it
  bool left_strip = false;   // takes the white space before it along
  bool right_strip = false;  // ... and behind it
};

// Finds the tokens of one kind (normalized or not) in a text.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // `patterns`: what is looked for, and the token it is. Throws Error, with the file's `name`,
  // where two are equal (as tokens that differ in case are to a normalizer that drops it).
  AddedTokenFinder(const std::vector<std::pair<std::string, AddedToken>>& patterns,
                   const std::string& name);

  // A stretch of the text: a token, or (id < 0) what lies between tokens.
  struct Stretch {
    Span span;
    int32_t id = -1;
  };
  // The leftmost tokens, of those that begin there the longest. The stretches cover the text.
  std::vector<Stretch> cut(std::string_view text) const;

 private:
  // The longest pattern that starts at text[at], or null.
  const std::pair<std::string, AddedToken>* longest_at(std::string_view text, size_t at) const;

  std::vector<std::pair<std::string, AddedToken>> patterns_;  // sorted
  std::array<Span, 256> by_first_byte_{};                     // a range of patterns_
};

// The field "added_tokens". Throws Error where an id is not the one that Hugging Face gives (the
// vocabulary's for a token it has, else the next free one), or a token comes twice.
std::vector<AddedToken> read_added_tokens(const JsonFields& tokenizer, const Bpe& model);

}  // namespace watersic
