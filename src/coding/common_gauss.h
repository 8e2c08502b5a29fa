// Tables of sampled Gaussians: nothing of them stands in the file but the index of their spread.
//
// After successive interference cancellation a column's values z are nearly Gaussian. The density
// at the values themselves, p(z) ~ exp(-z^2 / (2 s^2)), codes them as well as the integral over
// each cell (to 0.0002 bit from 0.3 to 4 bits), and needs no error function.
#pragma once

#include <cstdint>

#include "coding/common_table.h"

namespace watersic {

// Spread j is 2^((j - kUnitSpread) / 8).
inline constexpr int kUnitSpread = 32;
inline constexpr int kSpreads = 105;  // 0..104: from 1/16 to 512

// -64 log2 of p(m/2) / p(0) times 2^(16 + j/4): A_(j mod 4) m^2 = round(2^24 8 log2(e) 2^(-i/4)).
// Part of the format.
inline constexpr uint64_t kGaussianRate[4] = {193635251, 162827188, 136920799, 115136209};
inline uint64_t gaussian_drop(int spread, int q, int64_t m) {
  return (kGaussianRate[spread & 3] * static_cast<uint64_t>(m * m - q)) >> (16 + (spread >> 2));
}

// The table of the integers k at z = k + q/2 = m/2, m = 2k + q. It has those with a probability of
// at least 2^-(precision + cut); the tails beyond are the escapes. False where there are more
// symbols than slots.
bool gaussian_table(int spread, int q, int precision, int cut, bool escape, SymbolTable& table);

}  // namespace watersic
