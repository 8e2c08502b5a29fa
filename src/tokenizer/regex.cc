#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>

#include "io/text.h"
#include "tokenizer/regex_syntax.h"
#include "watersic/error.h"

namespace watersic {
namespace {

struct FreeContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};

std::string message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// As an error shows it: a pattern of another's file may be long.
std::string shown(std::string_view text) {
  constexpr size_t kMost = 100;
  if (text.size() <= kMost) return std::string(text);
  return replace_invalid_utf8(text.substr(0, kMost)) + "...";
}

pcre2_code* compile(std::string_view pattern, uint32_t options, const std::string& name) {
  // Only "\n" ends a line in Oniguruma, whatever PCRE2 was built with.
  const std::unique_ptr<pcre2_compile_context, FreeContext> context(
      pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       options, &code, &at, context.get());
  if (compiled == nullptr) {
    throw Error(fmt::format("{}: expected a regular expression, found {} ({})", name,
                            shown(pattern), message(code)));
  }
  // Without the JIT (not every CPU has one) the interpreter does the same, slower.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return compiled;
}

// The length of the UTF-8 character that starts with `lead`.
size_t character_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

struct Regex::Code {
  Code(std::string_view pattern, uint32_t options, std::string name_of)
      : code(compile(pattern, options, name_of)), name(std::move(name_of)) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code;
  std::string name;
};

Regex::Regex(std::string_view pattern, const std::string& name)
    // Ruby's ^ and $ always stand at line ends, hence MULTILINE.
    : code_(std::make_shared<Code>(pcre2_pattern(pattern, name),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, name)) {}

Regex Regex::literal(std::string_view text) {
  return Regex(std::make_shared<Code>(text, PCRE2_UTF | PCRE2_LITERAL,
                                      fmt::format("the literal \"{}\"", shown(text))));
}

void Regex::find_all(std::string_view text, std::vector<Span>& matches) const {
  matches.clear();
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create(1, nullptr));
  if (!match) throw std::bad_alloc();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(match.get());
  size_t at = 0;
  bool after_match = false;  // a match ends at `at`
  while (at <= text.size()) {
    // Once for the whole text, not for every match, the caller has checked the UTF-8.
    const auto run = [&](uint32_t options) {
      return pcre2_match(code_->code, subject, text.size(), at, options | PCRE2_NO_UTF_CHECK,
                         match.get(), nullptr);
    };
    int result = run(0);
    // The JIT's stack is small; the interpreter uses the heap.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      throw Error(fmt::format("{}: matching it against {} bytes of text failed: {}", code_->name,
                              text.size(), message(result)));
    }
    const Span span{found[0], found[1]};
    const bool empty = span.begin == span.end;
    if (!empty || !after_match || span.begin != at) matches.push_back(span);
    after_match = !empty;
    at = span.end;
    // An empty match must not be found again where it was.
    if (empty) at += at < text.size() ? character_length(text[at]) : 1;
  }
}

void check_growth(size_t bytes, size_t most) {
  if (bytes > most)
    throw Error(
        fmt::format("tokenizer.json: expected at most {} bytes to be made of a text, found "
                    "more",
                    most));
}

std::string Regex::replace_all(std::string_view text, std::string_view content, size_t most) const {
  std::vector<Span> matches;
  find_all(text, matches);
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  for (const Span& match : matches) {
    out.append(text.substr(at, match.begin - at));
    check_growth(out.size() + content.size(), most);
    out.append(content);
    at = match.end;
  }
  out.append(text.substr(at));
  return out;
}

}  // namespace watersic
