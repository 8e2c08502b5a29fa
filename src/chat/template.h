// A Jinja template: the part of the language that chat templates use.
//
// Statements if, for (with its filter and else), set (also of a namespace's fields, and as a
// block), macro, break, continue. Expressions with all operators but **; the methods, filters and
// tests in filters.cc; the functions namespace, dict, range, raise_exception and strftime_now.
// Anything else is an Error that names it: when the template is parsed, or when what is not
// implemented is reached.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/syntax.h"

namespace watersic::jinja {

class Template {
 public:
  // `name` is what errors call it.
  Template(std::string_view source, std::string name);

  // `variables`: an object. `now`: what strftime_now tells. Throws Error with the line, and with
  // the template's own words where it calls raise_exception.
  std::string render(const Value& variables, std::time_t now) const;

 private:
  std::string name_;
  std::shared_ptr<const std::vector<Statement>> statements_;
};

}  // namespace watersic::jinja
