#include "server/request_fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/text.h"
#include "server/api_error.h"

namespace watersic {

std::string shown_value(const Json& value) {
  constexpr size_t kMost = 60;
  // Of what is large not all is written out first.
  if (value.is_array() && value.size() > kMost) return fmt::format("a list of {}", value.size());
  if (value.is_string() && value.get_ref<const std::string&>().size() > 4 * kMost)
    return fmt::format("a text of {} bytes", value.get_ref<const std::string&>().size());
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMost) text = replace_invalid_utf8(text.substr(0, kMost - 3)) + "...";
  return text;
}

RequestFields::RequestFields(const Json& object, std::string place)
    : object_(object), place_(std::move(place)) {
  if (object.is_object()) return;
  const std::string name = place_.empty() ? "" : place_.substr(0, place_.size() - 1);
  throw ApiError(400,
                 fmt::format("{}: expected an object, found {}",
                             name.empty() ? "the request's body" : name, shown_value(object)),
                 name);
}

void RequestFields::fail(const std::string& name, const std::string& expected) const {
  const auto found = object_.find(name);
  throw ApiError::field(
      place_ + name, fmt::format("expected {}, found {}", expected,
                                 found == object_.end() ? "no such field" : shown_value(*found)));
}

const Json* RequestFields::find(const std::string& name) {
  known_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<double> RequestFields::number(const std::string& name, double least, double most) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  const double number = value->is_number() ? value->get<double>() : -1;
  if (!value->is_number() || !(number >= least && number <= most))
    fail(name, fmt::format("a number from {} to {}", least, most));
  return number;
}

std::optional<int64_t> RequestFields::integer(const std::string& name, int64_t least,
                                              int64_t most) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  const bool fits =
      value->is_number_integer() &&
      (!value->is_number_unsigned() || value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  if (!fits || value->get<int64_t>() < least || value->get<int64_t>() > most)
    fail(name, fmt::format("an integer from {} to {}", least, most));
  return value->get<int64_t>();
}

std::optional<bool> RequestFields::flag(const std::string& name) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_boolean()) fail(name, "true or false");
  return value->get<bool>();
}

std::optional<std::string> RequestFields::text(const std::string& name) {
  const Json* value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) fail(name, "a text");
  return value->get<std::string>();
}

void RequestFields::ignore(std::initializer_list<std::string> names) { known_.insert(names); }

void RequestFields::refuse(const std::string& name, const Json& neutral) {
  const Json* value = find(name);
  if (value == nullptr || *value == neutral) return;
  if (!value->is_primitive() && value->empty()) return;
  throw ApiError::field(place_ + name,
                        fmt::format("is not supported, found {}", shown_value(*value)));
}

void RequestFields::refuse(std::initializer_list<std::string> names) {
  for (const std::string& name : names) refuse(name, Json());
}

void RequestFields::check_known() const {
  for (const auto& [name, value] : object_.items()) {
    if (known_.contains(name)) continue;
    const std::string shown = shown_value(name);
    throw ApiError(400,
                   fmt::format("{}{}: is no field that is known here", place_,
                               shown.substr(1, shown.size() - 2)),
                   name.size() <= 100 ? place_ + name : "");
  }
}

}  // namespace watersic
