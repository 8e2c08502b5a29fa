// Numbers in files, as bytes that need not be aligned, to float32.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace watersic {

template <class From, class Convert>
void convert_values(const std::byte* from, std::span<float> to, Convert convert) {
  for (size_t i = 0; i < to.size(); ++i) {
    From value;
    std::memcpy(&value, from + i * sizeof(From), sizeof(From));
    to[i] = convert(value);
  }
}

// Written so that it vectorizes: an exponent of all ones is NaN or infinity.
inline bool all_finite(std::span<const float> values) {
  uint32_t bad = 0;
  for (const float x : values)
    bad |= static_cast<uint32_t>((std::bit_cast<uint32_t>(x) & 0x7F800000) == 0x7F800000);
  return bad == 0;
}

}  // namespace watersic
