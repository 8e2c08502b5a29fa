// Methods, filters and tests, by their names.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>

#include "chat/value.h"
#include "tokenizer/unicode.h"

namespace watersic::jinja {
namespace {

// Texts ----------------------------------------------------------------------------------------

const std::string& string(const Value& v, const std::string& what) {
  if (!v.is_string()) throw Failure(fmt::format("{} expects a text, found {}", what, kind_of(v)));
  return v.get_ref<const std::string&>();
}

std::vector<int32_t> characters(std::string_view text) {
  std::vector<int32_t> list;
  for (size_t at = 0; at < text.size();) list.push_back(next_character(text, at));
  return list;
}
std::string joined(const std::vector<int32_t>& list, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) append_character(text, list[i]);
  return text;
}

// Python counts the separators of ASCII as white space, too.
bool is_space(int32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

// Without what is in `set` (null: white space) at its start or its end.
std::string stripped(const std::string& text, const Value& set, bool start, bool end) {
  const auto list = characters(text);
  const auto unwanted = set.is_null() ? std::vector<int32_t>() : characters(string(set, "strip"));
  const auto drops = [&](int32_t c) {
    if (set.is_null()) return is_space(c);
    return std::ranges::find(unwanted, c) != unwanted.end();
  };
  size_t from = 0, to = list.size();
  while (start && from < to && drops(list[from])) ++from;
  while (end && to > from && drops(list[to - 1])) --to;
  return joined(list, from, to);
}

enum class Case { kLower, kUpper, kCapitalized, kTitle };
std::string with_case(const std::string& text, Case wanted) {
  auto list = characters(text);
  bool first = true;
  for (int32_t& c : list) {
    const bool upper = wanted == Case::kUpper || (wanted != Case::kLower && first);
    const int32_t other = lower_case(c);
    const bool letter = other != c || title_case(c) != c;
    c = upper ? title_case(c) : other;
    first = wanted == Case::kTitle ? !letter : false;
  }
  return joined(list, 0, list.size());
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to,
                     int64_t count) {
  std::string out;
  size_t at = 0;
  if (from.empty()) throw Failure("replace expects a text to replace that is not empty");
  for (; count != 0; --count) {
    const size_t found = text.find(from, at);
    if (found == std::string::npos) break;
    out += text.substr(at, found - at) + to;
    if (out.size() > kMaxLength) throw Failure("a text is too long");
    at = found + from.size();
  }
  return out + text.substr(at);
}

Value split(const std::string& text, const Value& separator, int64_t most) {
  Value list = Value::array();
  if (separator.is_null()) {
    const auto all = characters(text);
    for (size_t at = 0;; --most) {
      while (at < all.size() && is_space(all[at])) ++at;
      if (at == all.size()) return list;
      size_t end = most == 0 ? all.size() : at;
      while (end < all.size() && !is_space(all[end])) ++end;
      list.push_back(joined(all, at, end));
      at = end;
    }
  }
  const std::string& mark = string(separator, "split");
  if (mark.empty()) throw Failure("split expects a separator that is not empty");
  size_t at = 0;
  for (; most != 0; --most) {
    const size_t found = text.find(mark, at);
    if (found == std::string::npos) break;
    list.push_back(text.substr(at, found - at));
    at = found + mark.size();
  }
  list.push_back(text.substr(at));
  return list;
}

// Of one text or of any of a list.
bool affix(const Value& text, const Value& affixes, bool at_start) {
  const std::string& whole = string(text, "startswith");
  if (affixes.is_array())
    return std::ranges::any_of(affixes, [&](const Value& x) { return affix(text, x, at_start); });
  const std::string& part = string(affixes, "startswith");
  return at_start ? whole.starts_with(part) : whole.ends_with(part);
}

int64_t whole(const Value& v, const std::string& what) {
  if (!v.is_number_integer())
    throw Failure(fmt::format("{} expects a whole number, found {}", what, kind_of(v)));
  return v.get<int64_t>();
}

Value list_of(std::vector<Value> values) {
  Value list = Value::array();
  for (Value& v : values) list.push_back(std::move(v));
  return list;
}

Value pairs(const Value& object) {
  Value list = Value::array();
  for (const auto& [key, x] : object.items()) list.push_back(Value::array({key, x}));
  return list;
}

// The first (0) or the last (-1) of what a loop would go over.
Value at_end(const Value& v, int index) {
  if (v.is_array() || v.is_string()) return element(v, index);
  const auto list = elements(v);
  if (list.empty()) return undefined();
  return index == 0 ? list.front() : list.back();
}

// Filters --------------------------------------------------------------------------------------

Value number_of(const Value& v, const Arguments& arguments, bool whole_number) {
  Value otherwise = arguments.get(0, "default", whole_number ? Value(0) : Value(0.0));
  if (v.is_boolean())
    return whole_number ? Value(v.get<bool>() ? 1 : 0) : Value(truth(v) ? 1. : 0.);
  double real = 0;
  if (v.is_number()) {
    if (whole_number && v.is_number_integer()) return v;
    real = v.get<double>();
  } else if (v.is_string()) {
    const std::string text = stripped(v.get<std::string>(), nullptr, true, true);
    const char *begin = text.data() + (text.starts_with('+') ? 1 : 0),
               *end = text.data() + text.size();
    int64_t integer = 0;
    if (const auto [rest, error] = std::from_chars(begin, end, integer);
        whole_number && error == std::errc() && rest == end)
      return integer;
    const auto [rest, error] = std::from_chars(begin, end, real);
    if (error != std::errc() || rest != end) return otherwise;
  } else {
    return otherwise;
  }
  if (!whole_number) return real;
  if (!(std::abs(real) < 0x1p63)) return otherwise;
  return static_cast<int64_t>(real);
}

// An attribute by its path: "function.name".
Value attribute(Value v, const Value& path) {
  if (path.is_number_integer()) return element(v, path);
  for (const Value& name : split(string(path, "attribute"), ".", -1)) v = element(v, name);
  return v;
}

std::string join(const Value& v, const Arguments& arguments) {
  const std::string mark = text_of(arguments.get(0, "d", ""));
  const Value path = arguments.get(1, "attribute", nullptr);
  std::string out;
  bool first = true;
  for (const Value& x : elements(v)) {
    if (!first) out += mark;
    first = false;
    out += text_of(path.is_null() ? x : attribute(x, path));
    if (out.size() > kMaxLength) throw Failure("a text is too long");
  }
  return out;
}

// The arguments behind the first `count`.
Arguments behind(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  count = std::min(count, rest.positional());
  rest.values.erase(rest.values.begin(), rest.values.begin() + static_cast<int64_t>(count));
  return rest;
}

// select, reject, selectattr, rejectattr: of the elements those whose test gives `wanted`.
Value selected(const Value& v, const Arguments& arguments, bool by_attribute, bool wanted) {
  const size_t skip = by_attribute ? 1 : 0;
  if (by_attribute && arguments.positional() == 0)
    throw Failure("selectattr and rejectattr expect an attribute");
  const Value test = arguments.get(skip, "", nullptr);
  Value list = Value::array();
  for (const Value& x : elements(v)) {
    const Value tested = by_attribute ? attribute(x, arguments.values[0]) : x;
    const bool holds =
        test.is_null() ? truth(tested)
                       : apply_test(string(test, "select"), tested, behind(arguments, skip + 1));
    if (holds == wanted) list.push_back(x);
  }
  return list;
}

Value mapped(const Value& v, const Arguments& arguments) {
  Value list = Value::array();
  const bool by_attribute = arguments.positional() == 0;
  for (const Value& x : elements(v)) {
    if (!by_attribute) {
      list.push_back(apply_filter(string(arguments.values[0], "map"), x, behind(arguments, 1)));
      continue;
    }
    Value found = attribute(x, arguments.get(1, "attribute", nullptr));
    list.push_back(is_undefined(found) ? arguments.get(2, "default", undefined())
                                       : std::move(found));
  }
  return list;
}

using Filter = std::function<Value(const Value&, const Arguments&)>;
struct Signature {
  size_t most;  // positional arguments
  std::vector<std::string_view> names;
  Filter apply;
};

const std::map<std::string_view, Signature>& filters() {
  constexpr size_t kAny = 100;
  static const std::map<std::string_view, Signature> kFilters = [] {
    std::map<std::string_view, Signature> f;
    const auto by_case = [&](std::string_view name, Case wanted) {
      f[name] = {0, {}, [wanted](const Value& v, const Arguments&) -> Value {
                   return with_case(text_of(v), wanted);
                 }};
    };
    by_case("lower", Case::kLower);
    by_case("upper", Case::kUpper);
    by_case("capitalize", Case::kCapitalized);
    by_case("title", Case::kTitle);
    const auto by_test = [&](std::string_view name, bool by_attribute, bool wanted) {
      f[name] = {kAny, {}, [=](const Value& v, const Arguments& a) {
                   return selected(v, a, by_attribute, wanted);
                 }};
    };
    by_test("select", false, true);
    by_test("reject", false, false);
    by_test("selectattr", true, true);
    by_test("rejectattr", true, false);
    f["map"] = {kAny, {"attribute", "default"}, mapped};
    f["trim"] = {1, {"chars"}, [](const Value& v, const Arguments& a) -> Value {
                   return stripped(text_of(v), a.get(0, "chars", nullptr), true, true);
                 }};
    f["length"] = f["count"] = {
        0, {}, [](const Value& v, const Arguments&) -> Value { return length_of(v); }};
    f["tojson"] = {1, {"indent", "ensure_ascii"}, [](const Value& v, const Arguments& a) -> Value {
                     if (truth(a.get(1, "ensure_ascii", false)))
                       throw Failure("tojson with ensure_ascii is not implemented");
                     const Value indent = a.get(0, "indent", nullptr);
                     const int64_t width = indent.is_null() ? -1 : whole(indent, "tojson");
                     return json_of(v, static_cast<int>(std::clamp<int64_t>(width, -1, 100)));
                   }};
    f["default"] =
        f["d"] = {2, {"default_value", "boolean"}, [](const Value& v, const Arguments& a) {
                    const bool falsy = truth(a.get(1, "boolean", false)) && !truth(v);
                    return is_undefined(v) || falsy ? a.get(0, "default_value", "") : v;
                  }};
    f["join"] = {2, {"d", "attribute"}, [](const Value& v, const Arguments& a) -> Value {
                   return join(v, a);
                 }};
    f["first"] = {0, {}, [](const Value& v, const Arguments&) { return at_end(v, 0); }};
    f["last"] = {0, {}, [](const Value& v, const Arguments&) { return at_end(v, -1); }};
    f["reverse"] = {
        0, {}, [](const Value& v, const Arguments&) { return slice(v, nullptr, nullptr, -1); }};
    f["list"] = {0, {}, [](const Value& v, const Arguments&) { return list_of(elements(v)); }};
    f["items"] = {0, {}, [](const Value& v, const Arguments&) {
                    if (!v.is_object() && !is_undefined(v))
                      throw Failure(fmt::format("items expects a mapping, found {}", kind_of(v)));
                    return v.is_object() ? pairs(v) : Value::array();
                  }};
    f["string"] = {0, {}, [](const Value& v, const Arguments&) -> Value { return text_of(v); }};
    f["safe"] = f["string"];  // nothing is escaped
    f["int"] = {
        1, {"default"}, [](const Value& v, const Arguments& a) { return number_of(v, a, true); }};
    f["float"] = {
        1, {"default"}, [](const Value& v, const Arguments& a) { return number_of(v, a, false); }};
    f["abs"] = {0, {}, [](const Value& v, const Arguments&) {
                  return truth(apply_operator("<", v, 0)) ? apply_operator("-", 0, v) : v;
                }};
    f["replace"] = {3, {}, [](const Value& v, const Arguments& a) -> Value {
                      if (a.values.size() < 2) throw Failure("replace expects two texts");
                      const Value count = a.get(2, "count", nullptr);
                      return replaced(text_of(v), text_of(a.values[0]), text_of(a.values[1]),
                                      count.is_null() ? -1 : whole(count, "replace"));
                    }};
    return f;
  }();
  return kFilters;
}

}  // namespace

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto found = filters().find(name);
  if (found == filters().end())
    throw Failure(fmt::format("the filter '{}' is not implemented", name));
  arguments.check(fmt::format("the filter '{}'", name), found->second.most, found->second.names);
  return found->second.apply(value, arguments);
}

bool apply_test(const std::string& name, const Value& v, const Arguments& arguments) {
  static const std::map<std::string_view, std::function<bool(const Value&)>> kPlain = {
      {"defined", [](const Value& x) { return !is_undefined(x); }},
      {"undefined", [](const Value& x) { return is_undefined(x); }},
      {"none", [](const Value& x) { return x.is_null(); }},
      {"string", [](const Value& x) { return x.is_string(); }},
      {"mapping", [](const Value& x) { return x.is_object(); }},
      {"iterable",
       [](const Value& x) { return x.is_string() || x.is_structured() || is_undefined(x); }},
      {"sequence",
       [](const Value& x) { return x.is_string() || x.is_structured() || is_undefined(x); }},
      {"boolean", [](const Value& x) { return x.is_boolean(); }},
      {"true", [](const Value& x) { return x.is_boolean() && x.get<bool>(); }},
      {"false", [](const Value& x) { return x.is_boolean() && !x.get<bool>(); }},
      {"number", [](const Value& x) { return x.is_number() || x.is_boolean(); }},
      {"integer", [](const Value& x) { return x.is_number_integer(); }},
      {"float", [](const Value& x) { return x.is_number_float(); }},
      {"odd", [](const Value& x) { return whole(x, "odd") % 2 != 0; }},
      {"even", [](const Value& x) { return whole(x, "even") % 2 == 0; }},
  };
  static const std::map<std::string_view, const char*> kOperators = {
      {"eq", "=="}, {"equalto", "=="}, {"ne", "!="}, {"lt", "<"},          {"lessthan", "<"},
      {"le", "<="}, {"gt", ">"},       {"ge", ">="}, {"greaterthan", ">"}, {"in", "in"}};
  const std::string what = fmt::format("the test '{}'", name);
  if (const auto found = kPlain.find(name); found != kPlain.end()) {
    arguments.check(what, 0);
    return found->second(v);
  }
  const auto found = kOperators.find(name);
  const bool divisible = name == "divisibleby";
  if (found == kOperators.end() && !divisible)
    throw Failure(fmt::format("the test '{}' is not implemented", name));
  arguments.check(what, 1);
  if (arguments.values.size() != 1) throw Failure(what + " expects an argument");
  const Value& other = arguments.values[0];
  if (divisible) return equal(apply_operator("%", v, other), 0);
  return truth(apply_operator(found->second, v, other));
}

Value call_method(const Value& object, const std::string& name, const Arguments& arguments) {
  const auto argument = [&](size_t i) { return arguments.get(i, "", nullptr); };
  const std::string what = fmt::format("'{}'", name);
  const auto check = [&](size_t least, size_t most) {
    arguments.check(what, most);
    if (arguments.values.size() < least)
      throw Failure(fmt::format("{} expects {} arguments", what, least));
  };
  if (object.is_string()) {
    const std::string& text = object.get_ref<const std::string&>();
    const bool left = name == "strip" || name == "lstrip";
    const bool right = name == "strip" || name == "rstrip";
    if (left || right) {
      check(0, 1);
      return stripped(text, argument(0), left, right);
    }
    if (name == "split") {
      arguments.check(what, 2, {"sep", "maxsplit"});
      return split(text, arguments.get(0, "sep", nullptr),
                   whole(arguments.get(1, "maxsplit", -1), what));
    }
    if (name == "startswith" || name == "endswith") {
      check(1, 1);
      return affix(object, argument(0), name == "startswith");
    }
    static const std::map<std::string_view, Case> kCases = {{"lower", Case::kLower},
                                                            {"upper", Case::kUpper},
                                                            {"capitalize", Case::kCapitalized},
                                                            {"title", Case::kTitle}};
    if (const auto found = kCases.find(name); found != kCases.end()) {
      check(0, 0);
      return with_case(text, found->second);
    }
    if (name == "replace") {
      check(2, 3);
      return replaced(text, string(argument(0), what), string(argument(1), what),
                      argument(2).is_null() ? -1 : whole(argument(2), what));
    }
    if (name == "join") {
      check(1, 1);
      return join(argument(0), {.values = {object}, .named = {}});
    }
  }
  if (object.is_object()) {
    if (name == "items" || name == "keys" || name == "values") {
      check(0, 0);
      if (name == "items") return pairs(object);
      if (name == "keys") return list_of(elements(object));
      Value list = Value::array();
      for (const auto& [key, x] : object.items()) list.push_back(x);
      return list;
    }
    if (name == "get") {
      check(1, 2);
      Value found = element(object, argument(0));
      return is_undefined(found) ? argument(1) : found;
    }
  }
  throw Failure(fmt::format("the method '{}' of {} is not implemented", name, kind_of(object)));
}

}  // namespace watersic::jinja
