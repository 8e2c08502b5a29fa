// Names of enums: what the command line, files and reports call their values.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "watersic/error.h"

namespace watersic {

// In the order of the values, which count from 0. Each enum's stand beside it.
template <class Enum>
inline constexpr std::array<const char*, 0> names_of{};

template <class Enum>
constexpr const char* name_of(Enum value) {
  return names_of<Enum>[static_cast<size_t>(value)];
}

// "hf|llama.cpp"
template <class Enum>
std::string joined_names(const std::string& separator) {
  std::string out;
  for (const char* name : names_of<Enum>) out += (out.empty() ? "" : separator) + name;
  return out;
}

// Throws Error for a name that is none.
template <class Enum>
Enum from_name(const std::string& name) {
  for (size_t i = 0; i < names_of<Enum>.size(); ++i)
    if (name == names_of<Enum>[i]) return static_cast<Enum>(i);
  throw Error("expected " + joined_names<Enum>(" or ") + ", found '" + name + "'");
}

}  // namespace watersic
