// How often each integer occurs.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

struct Histogram {
  std::vector<std::pair<int32_t, int64_t>> counts;  // value and count > 0, values rising
  int64_t total = 0;

  void add(const Histogram& other);
  // Bits that an ideal code for these frequencies spends on all of them, without a table.
  double entropy_bits() const;
};

// The integers of one kind: every column of `codes` (columns empty), or those listed.
Histogram histogram_of(MatrixView<const int32_t> codes,
                       const std::vector<int64_t>* columns = nullptr);

}  // namespace watersic
