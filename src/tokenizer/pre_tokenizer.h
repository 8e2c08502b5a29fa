// How tokenizer.json cuts a normalized text into the words that the model encodes one by one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "tokenizer/regex.h"

namespace watersic {

// A text and its pieces: in order, not overlapping, none empty. Cutting changes the spans only.
struct Pieces {
  std::string text;
  std::vector<Span> spans;
  // The first piece begins where the text given to encode() begins.
  bool at_start = false;
  size_t most = 0;  // bytes that `text` may have

  std::string_view piece(const Span& span) const {
    return std::string_view(text).substr(span.begin, span.end - span.begin);
  }
};

class PreTokenizer {
 public:
  // Leaves every text whole.
  PreTokenizer() = default;
  // The field "pre_tokenizer": ByteLevel, Split, Metaspace, Digits, Whitespace, WhitespaceSplit,
  // Punctuation, CharDelimiterSplit, Sequence. Throws Error naming any other.
  explicit PreTokenizer(const JsonFields& fields);

  // `text` is valid UTF-8.
  Pieces operator()(std::string text, bool at_start) const;

 private:
  using Step = std::function<void(Pieces&)>;
  void add(const JsonFields& fields);

  std::vector<Step> steps_;
};

// What becomes of the matches when a text is split at a pattern.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Splits each piece. With `invert` what lies between the matches takes their part.
void split(Pieces& pieces, const Regex& pattern, SplitBehavior behavior, bool invert);

}  // namespace watersic
