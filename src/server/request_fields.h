// Fields of a request's body, each of which must be known and is checked. All errors are ApiErrors
// that name the field.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "io/json.h"

namespace watersic {

class RequestFields {
 public:
  // `object` must outlive it; `place` is what stands before a field's name ("messages[0].").
  explicit RequestFields(const Json& object, std::string place = "");

  // The field's value; none where it is missing or null.
  const Json* find(const std::string& name);
  std::optional<double> number(const std::string& name, double least, double most);
  std::optional<int64_t> integer(const std::string& name, int64_t least, int64_t most);
  std::optional<bool> flag(const std::string& name);
  std::optional<std::string> text(const std::string& name);

  // Does not change the answer, whatever it says.
  void ignore(std::initializer_list<std::string> names);
  // Would change the answer in a way that is not implemented: may be missing, null, empty, or
  // `neutral`.
  void refuse(const std::string& name, const Json& neutral);
  void refuse(std::initializer_list<std::string> names);
  // After all: what is left is not known.
  void check_known() const;

  [[noreturn]] void fail(const std::string& name, const std::string& expected) const;

 private:
  const Json& object_;
  std::string place_;
  std::set<std::string> known_;
};

// A value as an error shows it: short.
std::string shown_value(const Json& value);

}  // namespace watersic
