// The text of a Jinja template as tokens, with Jinja's rules of white space. The settings are those
// of Hugging Face's chat templates: a statement alone on its line leaves nothing of the line
// (trim_blocks, lstrip_blocks).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace watersic::jinja {

struct Token {
  enum class Kind {
    kText,  // what stands outside of {{ }} and {% %}
    kStatementBegin,
    kStatementEnd,
    kPrintBegin,
    kPrintEnd,
    kName,
    kString,  // `text` is its value
    kInteger,
    kFloat,
    kOperator,
    kEnd,  // the last token
  };
  Kind kind = Kind::kEnd;
  std::string text;
  int line = 1;
};

// Throws Error, calling the template `name`, where a tag or a string is not closed or a character
// is none of Jinja's.
std::vector<Token> tokens_of(std::string_view source, const std::string& name);

// "NAME: line LINE: WHAT"
[[noreturn]] void fail(const std::string& name, int line, const std::string& what);

}  // namespace watersic::jinja
