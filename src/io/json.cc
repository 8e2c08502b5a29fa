#include "io/json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/mapped_file.h"

namespace watersic {
namespace {

constexpr int kMaxJsonDepth = 64;

// A value as an error shows it: short.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& name) {
  // The depth is checked as the text is scanned, before a tree of it exists: destroying one
  // recurses.
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth)
        throw Error(fmt::format("{}: JSON nested deeper than {} levels", name, kMaxJsonDepth));
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    throw Error(fmt::format("{}: is not valid JSON: {}", name, e.what()));
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
