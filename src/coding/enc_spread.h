// Which spread fits which column and row: maximum likelihood, with the cost of saying so.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "coding/common_classes.h"
#include "watersic/matrix.h"

namespace watersic {

// Classes, and the bits that they take: of the integers, ideally, and of naming the classes.
struct ClassFit {
  Classes classes;
  double integer_bits = 0, column_bits = 0, row_bits = 0;
  int64_t rows_seen = 0;  // to which the columns' spreads were fitted
  double bits() const { return integer_bits + column_bits + row_bits; }
};

// How u_i is written: as a number or as its distance from what the column's scale predicts.
struct ColumnCode {
  bool predicted = false;
  int64_t center = 0;  // of the prediction
  std::vector<int64_t> numbers;
  double bits = 0;
};
ColumnCode code_columns(const Classes& classes, std::span<const uint16_t> column_scale);

// The best of columns alone and columns with rows, at resolutions of 1/8 and 1/4 octave. `codes`:
// k, or m with a trellis; of a large matrix the columns' spreads are told by some of its rows.
// `column_scale`: the halves, or nothing.
ClassFit fit_classes(MatrixView<const int32_t> codes, bool trellis,
                     std::span<const uint16_t> column_scale, ThreadPool& pool);

}  // namespace watersic
