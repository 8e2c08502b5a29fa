#include "io/json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "io/mapped_file.h"
#include "io/text.h"

namespace watersic {
namespace {

constexpr int kMaxJsonDepth = 64;

// A value as an error shows it: short.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = replace_invalid_utf8(text.substr(0, 57)) + "...";
  return text;
}

// What the parser says, without its own numbering, and without all that it has read.
std::string shortened(std::string what) {
  if (const size_t end = what.find("] "); what.starts_with("[json.exception") && end != what.npos)
    what.erase(0, end + 2);
  if (what.size() > 200) what = what.substr(0, 200) + "...";
  return replace_invalid_utf8(what);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& name) {
  std::vector<std::unordered_set<std::string>> names;  // of the objects that are open
  std::string last;                                    // name that was read
  // Throws before there is a tree of any depth: destroying one recurses.
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth >= kMaxJsonDepth)
      throw Error(fmt::format("{}: JSON nested deeper than {} levels", name, kMaxJsonDepth));
    if (event == Event::object_start) names.emplace_back();
    if (event == Event::object_end) names.pop_back();
    if (event == Event::key) last = value.get<std::string>();
    if (event == Event::key && !names.back().insert(last).second)
      throw Error(fmt::format("{}: expected each name once in an object, found {} twice", name,
                              shown(value)));
    return true;
  };
  try {
    return Json::parse(text, check);
  } catch (const Json::exception& e) {
    throw Error(fmt::format("{}: is not valid JSON: {}{}", name, shortened(e.what()),
                            last.empty() ? "" : ", behind the name " + shown(last)));
  }
}

Json read_json(const std::filesystem::path& path, size_t max_bytes) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() > max_bytes) {
    throw Error(fmt::format("{}: expected at most {} bytes of JSON, found {}", path.string(),
                            max_bytes, bytes.size()));
  }
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

JsonFields::JsonFields(const Json& object, std::string name)
    : object_(&object), name_(std::move(name)) {
  if (!object.is_object())
    throw Error(fmt::format("{}: expected an object, found {}", name_, shown(object)));
}

void JsonFields::fail(const std::string& field, const std::string& expected) const {
  const auto found = object_->find(field);
  throw Error(fmt::format("{}: {}: expected {}, found {}", name_, field, expected,
                          found == object_->end() ? "no such field" : shown(*found)));
}

bool JsonFields::has(const std::string& field) const {
  const auto found = object_->find(field);
  return found != object_->end() && !found->is_null();
}

int64_t JsonFields::integer(const std::string& field) const {
  if (!has(field) || !(*object_)[field].is_number_integer()) fail(field, "an integer");
  if ((*object_)[field].is_number_unsigned() && (*object_)[field].get<uint64_t>() > INT64_MAX)
    fail(field, "an integer below 2^63");
  return (*object_)[field].get<int64_t>();
}
int64_t JsonFields::integer(const std::string& field, int64_t otherwise) const {
  return has(field) ? integer(field) : otherwise;
}

double JsonFields::number(const std::string& field) const {
  if (!has(field) || !(*object_)[field].is_number()) fail(field, "a number");
  return (*object_)[field].get<double>();
}
double JsonFields::number(const std::string& field, double otherwise) const {
  return has(field) ? number(field) : otherwise;
}

bool JsonFields::boolean(const std::string& field, bool otherwise) const {
  if (!has(field)) return otherwise;
  if (!(*object_)[field].is_boolean()) fail(field, "true or false");
  return (*object_)[field].get<bool>();
}

std::string JsonFields::text(const std::string& field) const {
  if (!has(field) || !(*object_)[field].is_string()) fail(field, "a string");
  return (*object_)[field].get<std::string>();
}
std::string JsonFields::text(const std::string& field, const std::string& otherwise) const {
  return has(field) ? text(field) : otherwise;
}

JsonFields JsonFields::object(const std::string& field) const {
  if (!has(field) || !(*object_)[field].is_object()) fail(field, "an object");
  return {(*object_)[field], name_ + ": " + field};
}

const Json& JsonFields::array(const std::string& field) const {
  if (!has(field) || !(*object_)[field].is_array()) fail(field, "an array");
  return (*object_)[field];
}

}  // namespace watersic
