// A template's text as statements. Grammar and precedence are those of Jinja 3; what is left out
// (inheritance, inclusion, call and filter blocks, scoped blocks) is an Error that names it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/syntax.h"

namespace watersic::jinja {

// Throws Error with the line.
std::vector<Statement> parse(std::string_view source, const std::string& name);

}  // namespace watersic::jinja
