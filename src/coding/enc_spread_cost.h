// What columns and rows cost in each class of spread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/threads.h"
#include "coding/common_gauss.h"
#include "watersic/matrix.h"

namespace watersic {

// Magnitudes |m|, one by one below 64 and then in eighths of an octave.
inline constexpr int kBins = 64 + 27 * 8;
int bin_of(uint64_t magnitude);

// at(j, bin): bits of an integer in that bin coded as a Gaussian of spread j, or as an escape where
// that is cheaper.
class BinCosts {
 public:
  BinCosts();
  float at(int spread, int bin) const { return from(spread, bin)[0]; }
  // Of spreads `spread`, `spread` + 1, ... in a row; those outside count as the nearest.
  const float* from(int spread, int bin) const {
    return &bits_[static_cast<size_t>(int64_t{bin} * kWidth +
                                      std::clamp(spread, -kSpreads, kSpreads) + kSpreads)];
  }

 private:
  static constexpr int kWidth = 3 * kSpreads;
  std::vector<float> bits_;  // kBins x kWidth
};

// The costs of lines (columns or rows) in each class; `zero`: nothing but zeros.
struct LineCosts {
  Matrix<float> bits;  // lines x kSpreads
  std::vector<bool> zero;
};

// offset: of each row, added to the spread of the column; -1000: the row is zero.
inline constexpr int kZeroLine = -1000;
LineCosts column_costs(MatrixView<const int32_t> codes, bool trellis,
                       const std::vector<int>& row_offset, const BinCosts& costs, ThreadPool& pool);

// spread: of each column, or kZeroLine. bits(r, kMaxOffset + o): row r with offset o.
inline constexpr int kMaxOffset = 52;
LineCosts row_costs(MatrixView<const int32_t> codes, bool trellis,
                    const std::vector<int>& column_spread, const BinCosts& costs, ThreadPool& pool);

}  // namespace watersic
