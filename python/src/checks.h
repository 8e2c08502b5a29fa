// Bounds that the library leaves to its callers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "watersic/error.h"

namespace watersic::python {

inline int64_t in_range(const char* what, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return value;
  throw Error(std::string(what) + ": expected " + std::to_string(least) + " to " +
              std::to_string(most) + ", found " + std::to_string(value));
}

inline constexpr int64_t kMany = int64_t{1} << 30;
inline int64_t none_or_more(const char* what, int64_t value) {
  return in_range(what, value, 0, kMany);
}
// Leaves the option as it is where nothing is given.
inline void set_count(int64_t& option, const char* what, const std::optional<int64_t>& value) {
  if (value) option = in_range(what, *value, 1, kMany);
}
inline int thread_count(int64_t threads) {
  return static_cast<int>(in_range("threads", threads, 0, 4096));
}

}  // namespace watersic::python
