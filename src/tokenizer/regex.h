// The regular expressions of tokenizer.json, run by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace watersic {

// Bytes [begin, end) of a text.
struct Span {
  size_t begin = 0, end = 0;
  bool operator==(const Span&) const = default;
};

// How long a text of so many bytes may get on its way to tokens. NFKD makes 11 of 1, bytes as
// characters 2; a tokenizer that makes more of it would eat up the memory.
constexpr size_t most_bytes(size_t bytes) { return 4096 + 32 * bytes; }
void check_growth(size_t bytes, size_t most);

// A compiled pattern. Copies share the compiled code; matching is const and thread-safe.
class Regex {
 public:
  // A pattern in Oniguruma's Ruby syntax, as Hugging Face's tokenizers read it. `name` is what
  // errors call it. Throws Error for a pattern that is not valid, or that PCRE2 would read
  // otherwise than Oniguruma and that we do not translate (see regex_syntax.h).
  Regex(std::string_view pattern, const std::string& name);
  // A pattern that stands for itself.
  static Regex literal(std::string_view text);

  // All matches in `text` (valid UTF-8) from left to right, not overlapping, into `matches`. An
  // empty match that touches the end of the match before it does not count. Throws Error where
  // the matcher gives up (a pattern that backtracks without end).
  void find_all(std::string_view text, std::vector<Span>& matches) const;
  // `text` with every match replaced by `content`, which is taken literally. Throws Error where
  // that is longer than `most`.
  std::string replace_all(std::string_view text, std::string_view content, size_t most) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

}  // namespace watersic
