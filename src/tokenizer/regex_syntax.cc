#include "tokenizer/regex_syntax.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "watersic/error.h"

namespace watersic {
namespace {

// As members of a class, so that they serve within brackets too.
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Outside of brackets Oniguruma's \w has Latin-1's superscripts and fractions, too.
constexpr std::string_view kBareWord =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe";
constexpr std::string_view kHex = "0-9A-Fa-f";

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool compiles(const std::string& pattern) {
  int code = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_UCP, &code, &at, nullptr);
  pcre2_code_free(compiled);
  return compiled != nullptr;
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& name) : in_(pattern), name_(name) {}

  std::string run() {
    while (at_ < in_.size()) {
      switch (const char c = in_[at_]) {
        case '\\':
          escape(false);
          break;
        case '[':
          bracket();
          break;
        case '(':
          group();
          break;
        case '{':
          braces();
          break;
        default:
          out_ += c;
          ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(
        fmt::format("{}: {} in the regular expression {} is not implemented", name_, what, in_));
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  // "\..." at at_; `inside` brackets or not.
  void escape(bool inside) {
    const char c = peek(1);
    const auto emit_class = [&](std::string_view members, bool negated) {
      if (!inside) {
        out_ += fmt::format("[{}{}]", negated ? "^" : "", members);
      } else if (negated) {
        refuse(fmt::format("\\{} within brackets", c));
      } else {
        out_ += members;
      }
    };
    switch (c) {
      case 's':
        out_ += "\\p{White_Space}";
        break;
      case 'S':
        out_ += "\\P{White_Space}";
        break;
      case 'w':
      case 'W':
        emit_class(inside ? kWord : kBareWord, c == 'W');
        break;
      case 'h':
      case 'H':
        emit_class(kHex, c == 'H');
        break;
      case 'v':
        out_ += "\\x0b";
        break;
      case 'b':
        if (inside) {
          out_ += "\\x08";
        } else {
          out_ += fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kBareWord);
        }
        break;
      case 'p':
      case 'P':
        property();
        return;
      case 'u':
        for (size_t i = 2; i < 6; ++i)
          if (kHexDigits.find(peek(i)) == std::string_view::npos) refuse("\\u without 4 digits");
        out_ += fmt::format("\\x{{{}}}", in_.substr(at_ + 2, 4));
        at_ += 6;
        return;
      case 'x':
        hexadecimal();
        return;
      default: {
        constexpr std::string_view kSame = "dDntrfae";
        constexpr std::string_view kAnchors = "AzZ";
        if (is_alphanumeric(c) && kSame.find(c) == std::string_view::npos &&
            (inside || kAnchors.find(c) == std::string_view::npos))
          refuse(fmt::format("\\{}", c));
        // A character beyond ASCII stands for itself: its other bytes follow.
        if (c == '\0') refuse("a last \\");
        if (static_cast<unsigned char>(c) < 0x80) out_ += '\\';
        out_ += c;
      }
    }
    at_ += 2;
  }

  // \x{H...} or \xHH.
  void hexadecimal() {
    size_t digits = 0;
    const bool braced = peek(2) == '{';
    const size_t from = braced ? 3 : 2;
    while (kHexDigits.find(peek(from + digits)) != std::string_view::npos && (braced || digits < 2))
      ++digits;
    const std::string_view number = in_.substr(at_ + from, digits);
    // Two digits are a byte to Oniguruma: beyond ASCII that is part of a character.
    if (digits == 0 || (braced ? peek(3 + digits) != '}' : digits == 2 && number[0] >= '8'))
      refuse("\\x without an ASCII byte or braces");
    out_ += fmt::format("\\x{{{}}}", number);
    at_ += from + digits + (braced ? 1 : 0);
  }

  // \p{...} or \P{...}.
  void property() {
    const size_t end = in_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) refuse("\\p without braces");
    std::string_view property = in_.substr(at_ + 3, end - at_ - 3);
    out_ += in_.substr(at_, 3);
    if (!property.empty() && property[0] == '^') {
      out_ += '^';
      property.remove_prefix(1);
    }
    // PCRE2 takes the bare name of a script as its extended set.
    if (property.size() > 2 && compiles(fmt::format("\\p{{sc:{}}}", property))) out_ += "sc:";
    out_.append(property).append("}");
    at_ = end + 1;
  }

  // "[...]" at at_.
  void bracket() {
    out_ += '[';
    ++at_;
    if (peek() == '^') {
      out_ += '^';
      ++at_;
    }
    bracket_items(0);
    out_ += ']';
  }

  // Up to the bracket that closes, and over it. A class in a class adds its characters.
  void bracket_items(int depth) {
    if (peek() == ']') {  // first, it stands for itself
      out_ += "\\]";
      ++at_;
    }
    constexpr std::string_view kPunctuation = "[:punct:]";
    // Where two classes meet, a hyphen makes no range.
    bool at_edge = depth > 0, after_hyphen = false;
    while (at_ < in_.size() && peek() != ']') {
      const bool hyphen = peek() == '-';
      if (peek() == '\\') {
        escape(true);
      } else if (in_.substr(at_, kPunctuation.size()) == kPunctuation) {
        out_ += "\\p{P}\\p{S}";
        at_ += kPunctuation.size();
      } else if (peek() == '[') {
        if (peek(1) == ':') refuse("[: within brackets");
        if (peek(1) == '^') refuse("a negated class within brackets");
        if (after_hyphen) refuse("a range that ends in a class");
        if (depth == 8) refuse("classes nested so deep");
        ++at_;
        bracket_items(depth + 1);
        at_edge = true;
        continue;
      } else if (peek() == '&' && peek(1) == '&') {
        refuse("&&");
      } else if (hyphen && (at_edge || (depth > 0 && peek(1) == ']'))) {
        out_ += "\\-";
        ++at_;
      } else {
        out_ += in_[at_++];
      }
      at_edge = false;
      after_hyphen = hyphen;
    }
    if (at_ == in_.size()) refuse("[ without ]");
    ++at_;
  }

  // "(" and what says which kind of group it opens.
  void group() {
    out_ += '(';
    ++at_;
    if (peek() == '*') refuse("(*");
    if (peek() != '?') return;
    for (const std::string_view kind : {"?:", "?=", "?!", "?>", "?<=", "?<!"}) {
      if (in_.substr(at_, kind.size()) == kind) {
        out_ += kind;
        at_ += kind.size();
        return;
      }
    }
    out_ += '?';
    ++at_;
    while (peek() == 'i' || peek() == 'm' || peek() == '-') {
      out_ += peek() == 'm' ? 's' : peek();
      ++at_;
    }
    if (peek() != ':' && peek() != ')') refuse(fmt::format("(?{}", peek()));
    out_ += in_[at_++];
  }

  // "{": a count, or itself.
  void braces() {
    size_t i = 1, low = 0, high = 0;
    while (peek(i) >= '0' && peek(i) <= '9') ++i, ++low;
    const bool comma = peek(i) == ',';
    if (comma) {
      ++i;
      while (peek(i) >= '0' && peek(i) <= '9') ++i, ++high;
    }
    if (peek(i) != '}' || low + high == 0) {
      out_ += "\\{";
      ++at_;
      return;
    }
    const char next = peek(i + 1);
    // To Ruby "{n,m}+" repeats the repetition and "{n}?" makes it optional.
    if (next == '+' || (next == '?' && !comma)) refuse(fmt::format("}}{}", next));
    out_ += low == 0 ? "{0" : "{";
    out_ += in_.substr(at_ + 1, i);
    at_ += i + 1;
  }

  static constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";
  std::string_view in_;
  const std::string& name_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string pcre2_pattern(std::string_view pattern, const std::string& name) {
  return Translator(pattern, name).run();
}

}  // namespace watersic
