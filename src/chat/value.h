// Values of a template and Python's operations on them: templates are written for Jinja, whose
// values are Python's. Texts are UTF-8 and are counted in characters; tuples are lists.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "chat/syntax.h"

namespace watersic::jinja {

// What goes wrong in an operation; the evaluator adds where.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The largest text or list that an operation makes: a template is read from a file, and must not
// eat up the memory.
constexpr size_t kMaxLength = size_t{16} << 20;

// About how many bytes it takes to hold the value, and how long to go through it. Throws Failure
// where it is nested too deeply to be copied.
size_t footprint(const Value& v);

inline Value undefined() { return Value::value_t::discarded; }
inline bool is_undefined(const Value& v) { return v.is_discarded(); }

bool truth(const Value& v);
// Numbers by value, lists and objects by their elements.
bool equal(const Value& a, const Value& b);
// Python's str(): None, True, ['a', 1.5]; undefined is empty.
std::string text_of(const Value& v);
// Python's json.dumps with ensure_ascii=False, as Hugging Face has it. `indent` below 0: one line.
std::string json_of(const Value& v, int indent);
// What a loop goes over: elements, characters, keys. Nothing where `v` is undefined.
std::vector<Value> elements(const Value& v);
size_t length_of(const Value& v);
bool contains(const Value& container, const Value& element);
// "a text", "a list", ...
std::string kind_of(const Value& v);

// a OP b: + - * / // % ~ == != < <= > >= in not in.
Value apply_operator(const std::string& name, const Value& a, const Value& b);
// object[key]: undefined where there is no such element.
Value element(const Value& object, const Value& key);
// The same in place; null where there is none, or where it is no value of its own.
const Value* element_in(const Value& object, const Value& key);
// object[start:stop:step]; null for what is left out.
Value slice(const Value& object, const Value& start, const Value& stop, const Value& step);

struct Arguments {
  std::vector<Value> values;
  std::vector<std::string> named;  // names of the last of them

  size_t positional() const { return values.size() - named.size(); }
  // The argument at `position` or of that name; null where there is none.
  const Value* find(size_t position, std::string_view name) const;
  Value get(size_t position, std::string_view name, const Value& otherwise) const;
  // Throws Failure where there is one that a call of `what` with these parameters doesn't know.
  void check(const std::string& what, size_t most,
             const std::vector<std::string_view>& names = {}) const;
};

// object.NAME(arguments). Throws Failure for a method that is not implemented.
Value call_method(const Value& object, const std::string& name, const Arguments& arguments);
// value | NAME(arguments)
Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
// value is NAME(arguments)
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);

}  // namespace watersic::jinja
