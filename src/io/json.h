// JSON files of other people's making: size-bounded, depth-bounded, with errors that name the
// field.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "watersic/error.h"

namespace watersic {

using Json = nlohmann::json;

// Reads the file as UTF-8 JSON, at most `max_bytes` long and 64 levels deep, no name twice in an
// object. Throws Error.
Json read_json(const std::filesystem::path& path, size_t max_bytes = size_t{256} << 20);

// The same from memory; `name` is what errors call it.
Json parse_json(std::string_view text, const std::string& name);

// A JSON object of which errors can say where it stands: fields are read through it.
class JsonFields {
 public:
  // `name`: the file, and a path of fields within it ("config.json: rope_scaling").
  JsonFields(const Json& object, std::string name);

  const std::string& name() const { return name_; }
  const Json& json() const { return *object_; }
  // A field that is there and is not null.
  bool has(const std::string& field) const;

  // The field's value; Error where it is missing (for those without a default) or of another type.
  int64_t integer(const std::string& field) const;
  int64_t integer(const std::string& field, int64_t otherwise) const;
  double number(const std::string& field) const;
  double number(const std::string& field, double otherwise) const;
  bool boolean(const std::string& field, bool otherwise) const;
  std::string text(const std::string& field) const;
  std::string text(const std::string& field, const std::string& otherwise) const;
  JsonFields object(const std::string& field) const;
  const Json& array(const std::string& field) const;

  // "NAME: FIELD: expected EXPECTED, found FOUND"
  [[noreturn]] void fail(const std::string& field, const std::string& expected) const;

 private:
  const Json* object_;
  std::string name_;
};

}  // namespace watersic
