// Frequency tables as the file holds them: logarithms of the frequencies at evenly spaced knots.
//
// Logarithms, because a distribution that is smooth (ours are nearly Gaussian) then has small
// second differences, and because the loss depends on relative errors alone: a step of 1/8 bit
// costs 0.0005 bit a weight. Knots, because describing each of the 600 symbols of an 8-bit layer
// would cost more than it gains. Expanded with integers only, so that every machine has the same
// table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace watersic {

inline constexpr int64_t kMaxSymbols = 4096;   // with the escape
inline constexpr int kMaxLevel = 17 * 64 - 1;  // a level is 64 log2 of a weight of 15 bits and more

struct TableCode {
  int precision = kDefaultPrecision;
  int32_t base = 0;     // the symbols stand for base, base + 1, ...
  int64_t symbols = 1;  // without the escape
  bool escape =
      false;  // one symbol more, the last: a value outside, which stands in the tile's list

  // The rest counts only where there are two symbols or more.
  int shift = 0;      // level = knot << shift, in 1/64 bit (0..6)
  int spacing = 0;    // log2 of the symbols from knot to knot (0..7)
  int order = 1;      // knots are predicted by the last one (1) or from the last two on a line (2)
  int parameter = 0;  // of the Exp-Golomb codes of the residuals (0..15)
  int64_t bias = 0;   // added to each prediction: a Gaussian's second difference is constant
  std::vector<int32_t> knots;  // knot_count() of them
  int32_t escape_knot = 0;

  static constexpr int kDefaultPrecision = 12;
  int64_t alphabet() const { return symbols + (escape ? 1 : 0); }
  int64_t knot_count() const {
    return ((symbols - 1 + (int64_t{1} << spacing) - 1) >> spacing) + 1;
  }
  // What knot i is coded relative to; the first is coded as it is.
  int64_t prediction(int64_t i) const {
    const auto knot = [&](int64_t j) -> int64_t { return knots[static_cast<size_t>(j)]; };
    if (order == 1) return knot(i - 1) + bias;
    return i == 1 ? knot(0) : 2 * knot(i - 1) - knot(i - 2) + bias;
  }
};

// The frequencies, of sum 2^precision, one for each symbol and the escape: 0 where the symbol is
// absent, else at least 1. False where the code describes no table (levels out of range, no symbol
// present, more symbols than slots).
bool expand_table(const TableCode& code, std::vector<uint32_t>& frequencies);

}  // namespace watersic
