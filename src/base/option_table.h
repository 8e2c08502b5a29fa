// Tables of options: each option of a struct has one row, which binds its name to the member. Help,
// parsing, checks and reports go through the rows.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "watersic/error.h"
#include "watersic/options.h"

namespace watersic {

// Of a struct `Owner`, which may have members of these enums.
template <class Owner, class... Enums>
struct Option {
  using Struct = Owner;
  const char* name;  // "dead-threshold"
  std::variant<bool Owner::*, int Owner::*, int64_t Owner::*, uint64_t Owner::*, double Owner::*,
               std::optional<bool> Owner::*, std::optional<int> Owner::*,
               std::optional<double> Owner::*, std::string Owner::*,
               std::vector<std::string> Owner::*, Enums Owner::*...,
               std::optional<Enums> Owner::*...>
      member;
  const char* values;  // what stands for its value in help; empty: the names, or none for a flag
  const char* help;
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  const char* key = nullptr;  // in files, where it is not the name with _ for -
};

template <class Struct>
inline const Struct defaults_of{};

// A member's value, or null where it is left open.
template <class T>
const T* value_of(const T& value) {
  return &value;
}
template <class T>
const T* value_of(const std::optional<T>& value) {
  return value ? &*value : nullptr;
}
// The type without `optional`.
template <class T>
using Plain = std::remove_cvref_t<decltype(*value_of(std::declval<const T&>()))>;

template <class T>
T parse_value(const std::string& text) {
  if constexpr (std::is_enum_v<T>) {
    return from_name<T>(text);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text == "on") return true;
    if (text != "off") throw Error(fmt::format("expected on or off, found '{}'", text));
    return false;
  } else {
    T out{};
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, out);
    if (error != std::errc() || rest != end)
      throw Error(fmt::format("expected a number, found '{}'", text));
    return out;
  }
}

template <class Row>
const Row& find_option(const std::vector<Row>& table, const std::string& name) {
  const auto found = std::ranges::find(table, name, &Row::name);
  if (found != table.end()) return *found;
  std::string known;
  for (const Row& row : table) known += (known.empty() ? "" : ", ") + std::string(row.name);
  throw Error(fmt::format("expected one of {}, found '{}'", known, name));
}

template <class Row>
void set_value(const Row& row, typename Row::Struct& owner, const std::string& text) {
  try {
    std::visit(
        [&](auto member) {
          auto& value = owner.*member;
          using T = std::remove_reference_t<decltype(value)>;
          if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            value.push_back(text);
          } else {
            value = parse_value<Plain<T>>(text);
          }
        },
        row.member);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", row.name, e.what()));
  }
}

// Whether it is another than without anything said.
template <class Row>
bool is_given(const Row& row, const typename Row::Struct& owner) {
  return std::visit(
      [&](auto member) { return owner.*member != defaults_of<typename Row::Struct>.*member; },
      row.member);
}

template <class Row>
void check_bounds(const Row& row, const typename Row::Struct& owner) {
  const auto check = [&](auto member) {
    const auto* value = value_of(owner.*member);
    if constexpr (std::is_arithmetic_v<std::remove_cvref_t<decltype(*value)>>) {
      if (value == nullptr) return;
      const auto x = static_cast<double>(*value);
      if (x >= row.least && x <= row.most) return;
      const std::string upper = std::isinf(row.most) ? "or more" : fmt::format("to {}", row.most);
      throw Error(fmt::format("{}: expected {} {}, found {}", row.name, row.least, upper, *value));
    }
  };
  std::visit(check, row.member);
}

template <class Row>
std::vector<OptionInfo> describe_table(const std::vector<Row>& table) {
  using Kind = OptionInfo::Kind;
  std::vector<OptionInfo> out;
  for (const Row& row : table) {
    OptionInfo info{.name = row.name, .values = row.values, .help = row.help};
    std::visit(
        [&](auto member) {
          const auto value = defaults_of<typename Row::Struct>.*member;
          using T = std::remove_const_t<decltype(value)>;
          if constexpr (std::is_same_v<T, bool>) info.kind = value ? Kind::kOn : Kind::kOff;
          if constexpr (std::is_same_v<T, std::optional<bool>>) info.kind = Kind::kLeftOpen;
          if constexpr (std::is_same_v<T, std::vector<std::string>>) info.kind = Kind::kValues;
          if constexpr (std::is_enum_v<Plain<T>>) info.values = joined_names<Plain<T>>("|");
        },
        row.member);
    out.push_back(std::move(info));
  }
  return out;
}

}  // namespace watersic
