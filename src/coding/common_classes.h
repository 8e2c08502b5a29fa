// Which table codes which integer: classes of spread, by column and by row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "coding/common_gauss.h"

namespace watersic {

// Column i has the index u_i, row r the index v_r, and their integers the class
//
//   0                           if u_i = 0 or v_r = 0: nothing but zeros, which cost nothing
//   min(u_i + v_r - 1, count - 1)   otherwise
//
// Class c > 0 has spread first + (c - 1) * step, in eighths of an octave. There is a table for each
// class and, with a trellis, each q.
struct Classes {
  enum Kind { kOne = 0, kColumns = 1, kRows = 2 };
  Kind kind = kOne;
  int first = kUnitSpread, step = 1, count = 2;
  std::vector<int32_t> column;  // u of each live column; empty: all 1
  std::vector<int32_t> row;     // v of each row; empty: all 1

  int spread(int c) const { return std::min(first + (c - 1) * step, kSpreads - 1); }
  int of(int32_t u, int32_t v) const {
    return u == 0 || v == 0 ? 0 : static_cast<int>(std::min(u + v - 1, count - 1));
  }
  int at(int64_t r, int64_t i) const {
    return of(column.empty() ? 1 : column[static_cast<size_t>(i)],
              row.empty() ? 1 : row[static_cast<size_t>(r)]);
  }
};

// A scale's part in the prediction of its column's index: minus the logarithm of the scale, in
// steps of the classes (the upper bits of a half are a logarithm, nearly).
inline int64_t scale_index(uint16_t half, int step) {
  return -static_cast<int64_t>((half & 0x7FFF) >> 7) / step;
}

}  // namespace watersic
