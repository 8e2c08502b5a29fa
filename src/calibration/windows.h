// Token windows to calibrate on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace watersic {

// At most `samples` of the non-overlapping windows of `length` tokens of one stream of ids, picked
// at random by `seed`, in the order of the stream; the remainder of the stream is dropped. Throws
// Error, calling the stream `name`, where there is not one window.
std::vector<std::vector<int32_t>> pick_windows(std::span<const int32_t> ids, int64_t samples,
                                               int64_t length, uint64_t seed,
                                               const std::string& name);

}  // namespace watersic
