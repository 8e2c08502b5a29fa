// The order in which rows are coded that come in equal parts, such as attention's heads: the first
// of every part, the second of every part, and so on.
#pragma once

#include <cstdint>

namespace watersic {

// The row of the matrix that is coded as the k-th; `strands` parts divide its `rows`.
constexpr int64_t strand_row(int64_t k, int64_t rows, int64_t strands) {
  return strands == 1 ? k : k % strands * (rows / strands) + k / strands;
}

}  // namespace watersic
