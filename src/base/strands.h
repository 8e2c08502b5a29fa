// The order in which rows are coded that come in equal parts, such as attention's heads: the first
// of every part, the second of every part, and so on.
#pragma once

#include <cstdint>
#include <vector>

namespace watersic {

// The row of the matrix that is coded as the k-th; `strands` parts divide its `rows`.
constexpr int64_t strand_row(int64_t k, int64_t rows, int64_t strands) {
  return strands == 1 ? k : k % strands * (rows / strands) + k / strands;
}

inline std::vector<int64_t> strand_order(int64_t rows, int64_t strands) {
  std::vector<int64_t> order;
  for (int64_t k = 0; k < rows; ++k) order.push_back(strand_row(k, rows, strands));
  return order;
}

}  // namespace watersic
