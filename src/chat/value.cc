#include "chat/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tokenizer/unicode.h"

namespace watersic::jinja {
namespace {

bool is_number(const Value& v) { return v.is_number() || v.is_boolean(); }
double real(const Value& v) { return v.is_boolean() ? (v.get<bool>() ? 1 : 0) : v.get<double>(); }
int64_t integer(const Value& v) {
  return v.is_boolean() ? (v.get<bool>() ? 1 : 0) : v.get<int64_t>();
}

std::string quoted(const std::string& text) {
  const char quote =
      text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  return out + quote;
}

// Python's repr().
std::string shown(const Value& v) {
  if (v.is_string()) return quoted(v.get_ref<const std::string&>());
  if (!v.is_structured()) return text_of(v);
  std::string out(1, v.is_array() ? '[' : '{');
  for (const auto& [key, x] : v.items()) {
    if (out.size() > 1) out += ", ";
    if (v.is_object()) out += quoted(key) + ": ";
    out += shown(x);
  }
  out += v.is_array() ? ']' : '}';
  return out;
}

// What is not UTF-8 in a message becomes replacement characters.
std::string json_of(const Value& v) {
  return v.dump(-1, ' ', false, Value::error_handler_t::replace);
}

void write_json(const Value& v, int indent, int depth, std::string& out) {
  if (is_undefined(v)) throw Failure("expected a value for JSON, found one that is not defined");
  if (!v.is_structured() || v.empty()) {
    out += json_of(v);
    return;
  }
  const auto line = [&](int levels) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(indent) * static_cast<size_t>(levels), ' ');
  };
  out += v.is_array() ? '[' : '{';
  bool first = true;
  for (const auto& [key, x] : v.items()) {
    if (!first) out += indent >= 0 ? "," : ", ";
    first = false;
    line(depth + 1);
    if (v.is_object()) out += json_of(Value(key)) + ": ";
    write_json(x, indent, depth + 1, out);
  }
  line(depth);
  out += v.is_array() ? ']' : '}';
}

Value repeated(const Value& what, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(0, times));
  const size_t length = length_of(what);
  // Before it is made: a few small objects can be millions of them.
  const size_t bytes = what.is_string() ? length : footprint(what);
  if (length > 0 && count > kMaxLength / bytes) throw Failure("a repetition is too long");
  Value out = what.is_string() ? Value("") : Value::array();
  for (size_t i = 0; i < count && length > 0; ++i) {
    if (what.is_string()) {
      out.get_ref<std::string&>() += what.get_ref<const std::string&>();
    } else {
      for (const Value& x : what) out.push_back(x);
    }
  }
  return out;
}

Value arithmetic(const std::string& name, const Value& a, const Value& b) {
  if (name == "+" && a.is_string() && b.is_string())
    return a.get_ref<const std::string&>() + b.get_ref<const std::string&>();
  if (name == "+" && a.is_array() && b.is_array()) {
    Value out = a;
    for (const Value& x : b) out.push_back(x);
    return out;
  }
  if (name == "*" && (a.is_string() || a.is_array()) && b.is_number_integer())
    return repeated(a, integer(b));
  if (name == "*" && (b.is_string() || b.is_array()) && a.is_number_integer())
    return repeated(b, integer(a));
  if (!is_number(a) || !is_number(b)) {
    throw Failure(
        fmt::format("'{}' expects two numbers, found {} and {}", name, kind_of(a), kind_of(b)));
  }
  const auto divisor = [](auto y) {
    if (y == 0) throw Failure("division by zero");
    return y;
  };
  if (name == "/") return real(a) / divisor(real(b));
  if (a.is_number_float() || b.is_number_float()) {
    const double x = real(a), y = real(b);
    if (name == "+") return x + y;
    if (name == "-") return x - y;
    if (name == "*") return x * y;
    const double whole = std::floor(x / divisor(y));
    return name == "//" ? whole : x - y * whole;
  }
  const int64_t x = integer(a), y = integer(b);
  int64_t result = 0;
  bool wraps = false;
  if (name == "+") {
    wraps = __builtin_add_overflow(x, y, &result);
  } else if (name == "-") {
    wraps = __builtin_sub_overflow(x, y, &result);
  } else if (name == "*") {
    wraps = __builtin_mul_overflow(x, y, &result);
  } else if (y == -1) {  // the smallest integer over -1 is none
    wraps = name == "//" && __builtin_sub_overflow(int64_t{0}, x, &result);
  } else if (divisor(y) != 0) {
    const int64_t rest = x % y, floor = x / y - (rest != 0 && (rest < 0) != (y < 0) ? 1 : 0);
    result = name == "//" ? floor : x - floor * y;
  }
  if (wraps) throw Failure("an integer is too large");
  return result;
}

bool less(const std::string& name, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string())
    return a.get_ref<const std::string&>() < b.get_ref<const std::string&>();
  if (!is_number(a) || !is_number(b)) {
    throw Failure(fmt::format("'{}' expects two numbers or two texts, found {} and {}", name,
                              kind_of(a), kind_of(b)));
  }
  return a.is_number_float() || b.is_number_float() ? real(a) < real(b) : integer(a) < integer(b);
}

size_t footprint_at(const Value& v, int depth) {
  constexpr int kMaxNesting = 100;
  if (depth > kMaxNesting) throw Failure("a value is nested too deeply");
  constexpr size_t kEach = 32;
  if (v.is_string()) return kEach + v.get_ref<const std::string&>().size();
  size_t size = kEach;
  if (v.is_object()) {
    for (const auto& [key, x] : v.get_ref<const Value::object_t&>())
      size += kEach + key.size() + footprint_at(x, depth + 1);
  } else if (v.is_array()) {
    for (const Value& x : v) size += footprint_at(x, depth + 1);
  }
  return size;
}

// Where a list or a text counted from its end begins.
int64_t from_start(const Value& key, int64_t size) {
  return integer(key) + (integer(key) < 0 ? size : 0);
}

// Where each character begins, and the end.
std::vector<size_t> bounds_of(const std::string& text) {
  std::vector<size_t> bounds{0};
  for (size_t at = 0; at < text.size();) {
    next_character(text, at);
    bounds.push_back(at);
  }
  return bounds;
}

}  // namespace

size_t footprint(const Value& v) { return footprint_at(v, 0); }

bool truth(const Value& v) {
  if (v.is_boolean()) return v.get<bool>();
  if (v.is_number()) return real(v) != 0;
  if (v.is_string()) return !v.get_ref<const std::string&>().empty();
  return v.is_structured() && !v.empty();
}

bool equal(const Value& a, const Value& b) {
  if (is_undefined(a) || is_undefined(b)) return is_undefined(a) && is_undefined(b);
  if (is_number(a) && is_number(b)) {
    return a.is_number_float() || b.is_number_float() ? real(a) == real(b)
                                                      : integer(a) == integer(b);
  }
  if (a.type() != b.type()) return false;
  if (!a.is_structured()) return a == b;
  if (a.size() != b.size()) return false;
  if (a.is_array()) return std::equal(a.begin(), a.end(), b.begin(), equal);
  for (const auto& [key, x] : a.items())
    if (!b.contains(key) || !equal(x, b.at(key))) return false;
  return true;
}

std::string text_of(const Value& v) {
  if (is_undefined(v)) return "";
  if (v.is_null()) return "None";
  if (v.is_boolean()) return v.get<bool>() ? "True" : "False";
  if (v.is_string()) return v.get<std::string>();
  return v.is_structured() ? shown(v) : v.dump();
}

std::string json_of(const Value& v, int indent) {
  std::string out;
  write_json(v, indent, 0, out);
  return out;
}

std::vector<Value> elements(const Value& v) {
  std::vector<Value> list;
  if (v.is_array()) {
    list.assign(v.begin(), v.end());
  } else if (v.is_object()) {
    for (const auto& [key, x] : v.items()) list.emplace_back(key);
  } else if (v.is_string()) {
    const std::string& text = v.get_ref<const std::string&>();
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      next_character(text, at);
      list.emplace_back(text.substr(begin, at - begin));
    }
  } else if (!is_undefined(v)) {
    throw Failure(fmt::format("expected something to go over, found {}", kind_of(v)));
  }
  return list;
}

size_t length_of(const Value& v) {
  if (v.is_string()) {
    const std::string& text = v.get_ref<const std::string&>();
    return static_cast<size_t>(
        std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
  }
  if (is_undefined(v)) return 0;
  if (!v.is_structured()) throw Failure(fmt::format("{} has no length", kind_of(v)));
  return v.size();
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string())
      throw Failure(fmt::format("expected a text to look for in a text, found {}", kind_of(item)));
    return container.get_ref<const std::string&>().find(item.get_ref<const std::string&>()) !=
           std::string::npos;
  }
  if (container.is_object())
    return item.is_string() && container.contains(item.get_ref<const std::string&>());
  if (!container.is_array())
    throw Failure(fmt::format("expected something to look in, found {}", kind_of(container)));
  return std::ranges::any_of(container, [&](const Value& x) { return equal(x, item); });
}

std::string kind_of(const Value& v) {
  if (is_undefined(v)) return "what is not defined";
  if (v.is_null()) return "none";
  if (v.is_boolean()) return "a truth value";
  if (v.is_number()) return "a number";
  if (v.is_string()) return "a text";
  return v.is_array() ? "a list" : "a mapping";
}

Value apply_operator(const std::string& name, const Value& a, const Value& b) {
  if (name == "==") return equal(a, b);
  if (name == "!=") return !equal(a, b);
  if (name == "<") return less(name, a, b);
  if (name == ">") return less(name, b, a);
  if (name == "<=") return !less(name, b, a);
  if (name == ">=") return !less(name, a, b);
  if (name == "in") return contains(b, a);
  if (name == "not in") return !contains(b, a);
  if (name == "~") return text_of(a) + text_of(b);
  return arithmetic(name, a, b);
}

const Value* element_in(const Value& object, const Value& key) {
  if (object.is_object() && key.is_string()) {
    const auto found = object.find(key.get_ref<const std::string&>());
    return found == object.end() ? nullptr : &*found;
  }
  if (!object.is_array() || !key.is_number_integer()) return nullptr;
  const int64_t at = from_start(key, static_cast<int64_t>(object.size()));
  return at < 0 || at >= static_cast<int64_t>(object.size()) ? nullptr
                                                             : &object[static_cast<size_t>(at)];
}

Value element(const Value& object, const Value& key) {
  if (is_undefined(object)) throw Failure("expected an object with elements, found none");
  if (const Value* found = element_in(object, key)) return *found;
  if (!object.is_string() || !key.is_number_integer()) return undefined();
  const std::string& text = object.get_ref<const std::string&>();
  const auto bounds = bounds_of(text);
  const auto size = static_cast<int64_t>(bounds.size()) - 1;
  const int64_t at = from_start(key, size);
  if (at < 0 || at >= size) return undefined();
  const size_t begin = bounds[static_cast<size_t>(at)];
  return text.substr(begin, bounds[static_cast<size_t>(at) + 1] - begin);
}

Value slice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (!object.is_array() && !object.is_string())
    throw Failure(
        fmt::format("expected a list or a text to take a part of, found {}", kind_of(object)));
  for (const Value* part : {&start, &stop, &step})
    if (!part->is_null() && !part->is_number_integer())
      throw Failure(fmt::format("expected a whole number in [:], found {}", kind_of(*part)));
  const auto bounds =
      object.is_string() ? bounds_of(object.get_ref<const std::string&>()) : std::vector<size_t>();
  const auto size = static_cast<int64_t>(object.is_string() ? bounds.size() - 1 : object.size());
  const int64_t stride = step.is_null() ? 1 : integer(step);
  if (stride == 0) throw Failure("expected a step other than 0 in [::]");
  const auto bound = [&](const Value& v, int64_t otherwise) {
    if (v.is_null()) return otherwise;
    const int64_t at = from_start(v, size);
    return stride > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
  };
  const int64_t first = bound(start, stride > 0 ? 0 : size - 1);
  const int64_t last = bound(stop, stride > 0 ? size : -1);
  const int64_t jump = std::clamp<int64_t>(stride, -size - 1, size + 1);  // far enough
  Value out = object.is_string() ? Value("") : Value::array();
  for (int64_t i = first; jump > 0 ? i < last : i > last; i += jump) {
    const auto at = static_cast<size_t>(i);
    if (object.is_string()) {
      out.get_ref<std::string&>().append(object.get_ref<const std::string&>(), bounds[at],
                                         bounds[at + 1] - bounds[at]);
    } else {
      out.push_back(object[at]);
    }
  }
  return out;
}

const Value* Arguments::find(size_t position, std::string_view name) const {
  if (position < positional()) return &values[position];
  for (size_t i = 0; i < named.size(); ++i)
    if (named[i] == name) return &values[positional() + i];
  return nullptr;
}

Value Arguments::get(size_t position, std::string_view name, const Value& otherwise) const {
  const Value* found = find(position, name);
  return found != nullptr ? *found : otherwise;
}

void Arguments::check(const std::string& what, size_t most,
                      const std::vector<std::string_view>& names) const {
  if (positional() > most)
    throw Failure(
        fmt::format("{} expects at most {} arguments, found {}", what, most, positional()));
  for (const std::string& name : named)
    if (std::ranges::find(names, name) == names.end())
      throw Failure(fmt::format("the argument '{}' of {} is not implemented", name, what));
}

}  // namespace watersic::jinja
