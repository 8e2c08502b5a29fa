// Rounding to integers in loops that the compiler turns into SIMD without instructions beyond the
// baseline.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace watersic {

// The nearest integer, ties to even, as a float: adding 2^23 to a magnitude below it leaves no bits
// for a fraction; above, there are none.
inline float round_to_integer(float x) {
  const float magnitude = std::fabs(x);
  const float rounded = (magnitude + 0x1p23F) - 0x1p23F;
  return std::copysign(magnitude < 0x1p23F ? rounded : magnitude, x);
}
inline double round_to_integer(double x) {
  const double magnitude = std::fabs(x);
  const double rounded = (magnitude + 0x1p52) - 0x1p52;
  return std::copysign(magnitude < 0x1p52 ? rounded : magnitude, x);
}

// Integers are held in 32 bits; no sane step comes near the bound.
template <class T>
T clamp_to_int32(T x) {
  constexpr T kBound = 0x1p30;
  return std::min(std::max(x, -kBound), kBound);
}

}  // namespace watersic
