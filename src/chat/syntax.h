// What a template is made of.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace watersic::jinja {

// Objects keep the order of their keys, as Python's. What is not defined is the type `discarded`
// (value.h).
using Value = nlohmann::ordered_json;

struct Expression {
  enum class Kind {
    kLiteral,
    kName,
    kList,       // of the parts
    kDict,       // of the parts: key, value, key, value
    kAttribute,  // parts[0].name
    kIndex,      // parts[0][parts[1]]
    kSlice,      // parts[0][parts[1]:parts[2]:parts[3]]
    kCall,       // parts[0](arguments)
    kFilter,     // parts[0] | name(arguments)
    kTest,       // parts[0] is name(arguments)
    kUnary,      // name parts[0]
    kBinary,     // parts[0] name parts[1]
    kCondition,  // parts[0] if parts[1] else parts[2]
  };
  Kind kind = Kind::kLiteral;
  int line = 0;
  int depth = 1;       // of expressions inside each other, this one included
  bool calls = false;  // whether there is a kCall among them
  std::string name;
  Value literal;
  std::vector<Expression> parts;   // the arguments follow parts[0]
  std::vector<std::string> named;  // names of the last arguments
};

struct Statement {
  enum class Kind {
    kText,   // text
    kPrint,  // expressions[0]
    kIf,     // body if expressions[0], otherwise
    kFor,    // names in expressions[0], those for which expressions[1] (may be absent) holds
    kSet,    // names = expressions[0], or names[0].text = it; without expressions, the body's text
    kMacro,  // text(names): body; the last names have the expressions as defaults
    kBreak,
    kContinue,
    kGroup,  // body
  };
  Kind kind = Kind::kText;
  int line = 0;
  std::string text;
  std::vector<std::string> names;
  std::vector<Expression> expressions;
  std::vector<Statement> body, otherwise;
};

}  // namespace watersic::jinja
