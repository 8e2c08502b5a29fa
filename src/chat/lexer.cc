#include "chat/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "tokenizer/unicode.h"
#include "watersic/error.h"

namespace watersic::jinja {
namespace {

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// With line feeds only, and without one at its end, as Jinja reads a template.
std::string normalized(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    text += source[i] == '\r' ? '\n' : source[i];
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name)
      : source_(normalized(source)), name_(name) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text_and_tag();
    add(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void add(Token::Kind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }
  bool follows(std::string_view text) const {
    return std::string_view(source_).substr(at_).starts_with(text);
  }
  void advance(size_t count) {
    for (; count > 0; --count) line_ += source_[at_++] == '\n' ? 1 : 0;
  }

  // The text up to the next tag, and the tag.
  void text_and_tag() {
    size_t tag = source_.find('{', at_);
    while (tag != std::string::npos && tag + 1 < source_.size() &&
           std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos)
      tag = source_.find('{', tag + 1);
    if (tag == std::string::npos || tag + 1 == source_.size()) {
      add(Token::Kind::kText, source_.substr(at_));
      advance(source_.size() - at_);
      return;
    }
    std::string text = source_.substr(at_, tag - at_);
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign == '-') {
      while (!text.empty() && is_space(text.back())) text.pop_back();
    } else if (sign != '+' && kind != '{') {
      // lstrip_blocks: nothing but white space before the tag on its line.
      const size_t last = text.find_last_not_of(" \t");
      const bool whole_line = last == std::string::npos ? line_starts_ : text[last] == '\n';
      if (whole_line) text.resize(last == std::string::npos ? 0 : last + 1);
    }
    if (!text.empty()) add(Token::Kind::kText, std::move(text));
    advance(tag - at_);
    const int begin = line_;
    const bool signs = sign == '-' || (sign == '+' && kind != '{');
    advance(signs ? 3 : 2);
    if (kind == '#') {
      const size_t end = source_.find("#}", at_);
      if (end == std::string::npos) fail(name_, begin, "expected #} somewhere, found none");
      const bool strips = end > at_ && source_[end - 1] == '-';
      const bool keeps = end > at_ && source_[end - 1] == '+';
      advance(end + 2 - at_);
      close(strips, !keeps);
      return;
    }
    const bool statement = kind == '%';
    add(statement ? Token::Kind::kStatementBegin : Token::Kind::kPrintBegin, "");
    inside(statement ? "%}" : "}}", begin);
    add(statement ? Token::Kind::kStatementEnd : Token::Kind::kPrintEnd, "");
    const bool strips = closing_sign_ == '-';
    close(strips, statement && closing_sign_ != '+');
  }

  // White space behind a tag. `trims`: trim_blocks, a line feed right behind it.
  void close(bool strips, bool trims) {
    const size_t before = at_;
    if (strips) {
      while (at_ < source_.size() && is_space(source_[at_])) advance(1);
    } else if (trims && follows("\n")) {
      advance(1);
    }
    line_starts_ = at_ > before && source_[at_ - 1] == '\n';
  }

  // The tokens of a tag up to its end, which is consumed.
  void inside(std::string_view end, int begin) {
    int depth = 0;  // of brackets: "}}" inside of them closes two of them
    while (at_ < source_.size()) {
      if (is_space(source_[at_])) {
        advance(1);
        continue;
      }
      const char c = source_[at_];
      closing_sign_ = '\0';
      if (depth == 0) {
        if (follows(end)) {
          advance(2);
          return;
        }
        const bool plus = c == '+' && end == "%}";
        if ((c == '-' || plus) && std::string_view(source_).substr(at_ + 1).starts_with(end)) {
          closing_sign_ = c;
          advance(3);
          return;
        }
      }
      if (c == '\'' || c == '"') {
        string(c);
      } else if (is_digit(c)) {
        number();
      } else if (begins_name(c)) {
        size_t stop = at_;
        while (stop < source_.size() && (begins_name(source_[stop]) || is_digit(source_[stop])))
          ++stop;
        add(Token::Kind::kName, source_.substr(at_, stop - at_));
        advance(stop - at_);
      } else {
        operation(depth);
      }
    }
    fail(name_, begin, fmt::format("expected {} somewhere, found none", end));
  }

  void number() {
    size_t stop = at_;
    const auto digits = [&] {
      while (stop < source_.size() && is_digit(source_[stop])) ++stop;
    };
    digits();
    bool integer = true;
    if (stop + 1 < source_.size() && source_[stop] == '.' && is_digit(source_[stop + 1])) {
      integer = false;
      ++stop;
      digits();
    }
    add(integer ? Token::Kind::kInteger : Token::Kind::kFloat, source_.substr(at_, stop - at_));
    advance(stop - at_);
  }

  void operation(int& depth) {
    static constexpr std::string_view kTwo[] = {"==", "!=", ">=", "<=", "//", "**"};
    for (const std::string_view two : kTwo) {
      if (!follows(two)) continue;
      add(Token::Kind::kOperator, std::string(two));
      advance(2);
      return;
    }
    const char c = source_[at_];
    if (std::string_view("+-*/%~[](){}<>=.:|,").find(c) == std::string_view::npos)
      fail(name_, line_, fmt::format("expected an expression, found '{}'", shown(at_)));
    if (std::string_view("[({").find(c) != std::string_view::npos) ++depth;
    if (std::string_view("])}").find(c) != std::string_view::npos) --depth;
    add(Token::Kind::kOperator, std::string(1, c));
    advance(1);
  }
  // The character at `at`, whole.
  std::string shown(size_t at) const {
    const size_t begin = at;
    next_character(source_, at);
    return source_.substr(begin, at - begin);
  }

  // Python's escapes, as far as templates use them; of others the backslash stays, as in Python.
  void string(char quote) {
    const int begin = line_;
    std::string text;
    for (advance(1); at_ < source_.size() && source_[at_] != quote; advance(1)) {
      if (source_[at_] != '\\' || at_ + 1 == source_.size()) {
        text += source_[at_];
        continue;
      }
      advance(1);
      const char c = source_[at_];
      static constexpr std::string_view kNames = "ntrbfav\\'\"", kMeant = "\n\t\r\b\f\a\v\\'\"";
      if (const size_t i = kNames.find(c); i != std::string_view::npos) {
        text += kMeant[i];
      } else if (c == 'x' || c == 'u') {
        append_character(text, hexadecimal(c == 'x' ? 2 : 4));
      } else if (c != '\n') {  // a line that is continued
        text += '\\';
        text += c;
      }
    }
    if (at_ == source_.size()) fail(name_, begin, "expected the string to be closed");
    advance(1);
    add(Token::Kind::kString, std::move(text));
  }
  // The number of `digits` digits behind the current character; stays at its last one.
  int32_t hexadecimal(int digits) {
    int32_t value = 0;
    for (; digits > 0; --digits) {
      advance(at_ + 1 < source_.size() ? 1 : 0);
      const auto c = static_cast<unsigned char>(source_[at_]);
      if (std::isxdigit(c) == 0) fail(name_, line_, "expected hexadecimal digits in the escape");
      value = value * 16 + (is_digit(source_[at_]) ? c - '0' : std::tolower(c) - 'a' + 10);
    }
    if (value >= 0xD800 && value < 0xE000)
      fail(name_, line_, "expected a character, found half a surrogate pair");
    return value;
  }

  std::string source_;
  const std::string& name_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;  // what comes stands at the start of a line
  char closing_sign_ = '\0';
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source, const std::string& name) {
  return Lexer(source, name).run();
}

void fail(const std::string& name, int line, const std::string& what) {
  throw Error(fmt::format("{}: line {}: {}", name, line, what));
}

}  // namespace watersic::jinja
