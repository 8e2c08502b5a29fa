// The two 16-bit floating-point formats: IEEE half (binary16) and bfloat16. Rounding is to nearest,
// ties to even; conversions to float are exact. No hardware support is needed.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace watersic {

inline float float_from_bf16(uint16_t h) {
  return std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
}

inline uint16_t bf16_from_float(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7FFFFFFF) > 0x7F800000)
    return static_cast<uint16_t>((u >> 16) | 0x40);  // NaN stays NaN
  return static_cast<uint16_t>((u + 0x7FFF + ((u >> 16) & 1)) >> 16);
}

inline float float_from_half(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t magnitude = h & 0x7FFF;
  if (magnitude >= 0x7C00)
    return std::bit_cast<float>(sign | 0x7F800000 | ((magnitude & 0x3FF) << 13));
  // The exponent is rebiased by a product, which also makes the subnormals right.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | sign);
}

inline uint16_t half_from_float(float f) {
  const uint32_t u = std::bit_cast<uint32_t>(f);
  const uint32_t sign = (u >> 16) & 0x8000;
  const uint32_t magnitude = u & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00);
  if (magnitude >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);  // 65520 and above
  if (magnitude <
      0x38800000) {  // subnormal: adding 0.5 aligns the last kept bit with the unit of 2^-24
    const float aligned = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(aligned) - 0x3F000000));
  }
  const uint32_t rebiased = magnitude - (112U << 23);
  return static_cast<uint16_t>(sign | ((rebiased + 0xFFF + ((rebiased >> 13) & 1)) >> 13));
}

// The nearest finite half whose last `zeros` bits, at most 10, are zero: fewer bits to store.
inline uint16_t half_with_zeros(float f, int zeros) {
  const uint32_t half = half_from_float(f), unit = 1U << zeros;
  const uint32_t magnitude = ((half & 0x7FFF) + unit / 2) / unit * unit;
  return static_cast<uint16_t>((half & 0x8000) | (magnitude < 0x7C00 ? magnitude : 0x7C00 - unit));
}

// `value` rounded to a half times 2^exponent.
inline double round_to_half(double value, int exponent) {
  const auto scaled = static_cast<float>(std::ldexp(value, -exponent));
  return std::ldexp(static_cast<double>(float_from_half(half_from_float(scaled))), exponent);
}

// The exponent with which halves hold values up to `largest` (> 0) and, at full precision, down to
// 2^-28 of it.
inline int half_exponent(double largest) { return std::ilogb(largest) - 14; }

}  // namespace watersic
