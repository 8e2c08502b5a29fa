// What both sides know of a tensor in the runnable layout.
#pragma once

#include <cstddef>
#include <cstdint>

namespace watersic {

constexpr int kBitshiftTensorVersion = 5;  // 3 and 4 were others
// The payload begins at a multiple of this from the tensor's beginning.
constexpr size_t kPayloadAlignment = 32;
constexpr int64_t kMostExceptions = int64_t{1} << 20;
// Levels, offsets and their sums lie within +- this.
constexpr int kMostRate = 255;

}  // namespace watersic
