#include "calibration/windows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/rng.h"
#include "watersic/error.h"

namespace watersic {

std::vector<std::vector<int32_t>> pick_windows(std::span<const int32_t> ids, int64_t samples,
                                               int64_t length, uint64_t seed,
                                               const std::string& name) {
  const auto available = static_cast<int64_t>(ids.size()) / length;
  if (available == 0) {
    throw Error(fmt::format("{}: expected at least one window of {} tokens, found {} tokens", name,
                            length, ids.size()));
  }
  Rng rng(seed);
  std::vector<std::vector<int32_t>> windows;
  for (const int64_t w : rng.choose(available, std::min(samples, available))) {
    const auto window = ids.subspan(static_cast<size_t>(w * length), static_cast<size_t>(length));
    windows.emplace_back(window.begin(), window.end());
  }
  return windows;
}

}  // namespace watersic
