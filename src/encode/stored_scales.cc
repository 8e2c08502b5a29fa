#include "encode/stored_scales.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/half.h"

namespace watersic {
namespace {

// The nearest half whose last `drop` bits are zero.
uint16_t rounded_half(double value, int drop) {
  const uint32_t half = half_from_float(static_cast<float>(value));
  const uint32_t unit = 1U << drop;
  const uint32_t magnitude = ((half & 0x7FFF) + unit / 2) / unit * unit;
  return static_cast<uint16_t>((half & 0x8000) | std::min(magnitude, 0x7C00 - unit));
}

}  // namespace

int bits_to_drop(double bits, int64_t weights) {
  int best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int d = 0; d <= 10; ++d) {
    const double loss = 0.72 * 0.045 * std::exp2(2 * (d - 10)) * 3 * std::exp2(2 * bits);
    const double cost = loss - d / static_cast<double>(weights);
    if (cost < least) {
      least = cost;
      best = d;
    }
  }
  return best;
}

Scales to_scales(std::span<const double> values, int drop) {
  Scales scales;
  double largest = 0;
  for (const double v : values) largest = std::max(largest, std::fabs(v));
  scales.exponent = largest > 0 ? half_exponent(largest) : 0;
  for (const double v : values)
    scales.half.push_back(rounded_half(std::ldexp(v, -scales.exponent), drop));
  return scales;
}

}  // namespace watersic
