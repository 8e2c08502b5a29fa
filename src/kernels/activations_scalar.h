// The elements of activations.h, one at a time: the reference, and what vectors leave over.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace watersic::kernels {

// e^x = 2^n e^r with |r| <= ln(2) / 2; n ln(2) is taken off in two parts, the first of few bits, so
// that n times it is exact. The polynomial is Cephes' (S. Moshier, expf.c).
struct Exponential {
  static constexpr float kLowest = -104, kHighest = 89;  // beyond, the result is 0 or infinite
  static constexpr float kLog2E = 1.44269504088896341F;
  static constexpr float kRound = 0x1.8p23F;  // added and taken off: the nearest integer
  static constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  static constexpr float kTerms[6] = {1.9875691500e-4F, 1.3981999507e-3F, 8.3334519073e-3F,
                                      4.1665795894e-2F, 1.6666665459e-1F, 5.0000001201e-1F};
};

inline float power_of_two(int32_t n) {  // -126 <= n <= 127
  return std::bit_cast<float>(static_cast<uint32_t>(n + 127) << 23);
}

inline float exponential_of(float x) {
  using E = Exponential;
  if (!(x == x)) return x;
  const float held = std::min(std::max(x, E::kLowest), E::kHighest);
  const float n = (held * E::kLog2E + E::kRound) - E::kRound;
  const float r = (held - n * E::kLn2High) - n * E::kLn2Low;
  float y = E::kTerms[0];
  for (int i = 1; i < 6; ++i) y = y * r + E::kTerms[i];
  y = (y * (r * r) + r) + 1.0F;
  // In two steps, since 2^n itself may be out of range where the result is not.
  const auto whole = static_cast<int32_t>(n), half = whole >> 1;
  return y * power_of_two(half) * power_of_two(whole - half);
}

inline float gated(float gate, float up) { return gate / (1.0F + exponential_of(-gate)) * up; }

// Sums go by so many lanes at a time, which are then added in pairs, the far ones first.
constexpr int kSumLanes = 8;
inline double sum_of_lanes(double* lanes, int count = kSumLanes) {
  for (int n = count / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) lanes[i] += lanes[i + n];
  return lanes[0];
}

}  // namespace watersic::kernels
