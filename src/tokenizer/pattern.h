// Reads what several parts of tokenizer.json have in common.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/json.h"
#include "tokenizer/regex.h"

namespace watersic {

// The field "pattern": {"Regex": ...}, or {"String": ...} that stands for itself.
inline Regex pattern_of(const JsonFields& fields) {
  const JsonFields pattern = fields.object("pattern");
  if (pattern.has("Regex")) return {pattern.text("Regex"), pattern.name()};
  const std::string text = pattern.text("String");
  if (text.empty()) pattern.fail("String", "a string that is not empty");
  return Regex::literal(text);
}

// The objects of an array, each with a name that says which.
inline std::vector<JsonFields> fields_of(const JsonFields& fields, const std::string& array) {
  std::vector<JsonFields> out;
  for (const Json& element : fields.array(array))
    out.emplace_back(element,
                     fields.name() + ": " + array + "[" + std::to_string(out.size()) + "]");
  return out;
}

}  // namespace watersic
