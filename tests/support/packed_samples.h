// Matrices of integers for the tests and benchmarks of packed products.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "kernels/packed_layout.h"
#include "watersic/matrix.h"

namespace watersic {

struct PackedSample {
  PackedMatrix packed;
  Matrix<float> V;  // what it stands for: in the order of outputs, as RowDequantizer rounds
};

// Gaussian integers, column j's of deviation spreads[j % size]; a few far out. `groups`: of columns
// with scales by row, 0 for scales by row and by column.
inline PackedSample packed_sample(int64_t rows, int64_t columns, const std::vector<double>& spreads,
                                  int64_t groups = 0, double far_out = 1e-3, uint64_t seed = 1) {
  Rng rng(seed);
  Matrix<int32_t> m(rows, columns);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) {
      const double spread = spreads[static_cast<size_t>(j) % spreads.size()];
      const double factor = rng.uniform() < far_out ? 50 : 1;
      m(r, j) = static_cast<int32_t>(std::lround(factor * spread * rng.normal()));
    }
  }
  IntegerCounts counts(columns);
  counts.add(0, m);
  std::vector<PackedColumn> specs;
  for (int64_t j = 0; j < columns; ++j) {
    specs.push_back({.input = static_cast<int32_t>(j),
                     .group = groups > 0 ? static_cast<int32_t>(j * groups / columns) : 0,
                     .scale = groups > 0 ? 1.0F : static_cast<float>(0.5 + rng.uniform()),
                     .range = counts.best_range(j)});
  }
  PackedWriter writer(rows, columns, groups, specs);
  // In pieces, as tiles of a file come.
  for (int64_t r = 0; r < rows; r += 100) {
    const int64_t count = std::min<int64_t>(100, rows - r), left = (columns + 1) / 2;
    if (columns > left) writer.write(r, left, m.view().block(r, left, count, columns - left));
    writer.write(r, 0, m.view().block(r, 0, count, left));
  }
  PackedSample out{.packed = writer.take(), .V = Matrix<float>(rows, columns)};
  PackedMatrix& M = out.packed;
  if (groups == 0) {
    for (int64_t r = 0; r < rows; ++r)
      M.row_scale.push_back(static_cast<float>(0.5 + rng.uniform()));
  } else {
    for (int64_t i = 0; i < M.tiles() * groups * kTileRows; ++i)
      M.group_scale.push_back(static_cast<float>(0.5 + rng.uniform()));
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) {
      const auto& spec = specs[static_cast<size_t>(j)];
      const float scale =
          groups == 0 ? M.row_scale[static_cast<size_t>(r)]
                      : M.group_scale[static_cast<size_t>(
                            (r / kTileRows * groups + spec.group) * kTileRows + r % kTileRows)];
      out.V(r, j) = (scale * spec.scale) * static_cast<float>(m(r, j));
    }
  }
  return out;
}

inline Matrix<float> normal_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix<float> X(rows, cols);
  for (float& x : X.values()) x = static_cast<float>(rng.normal());
  return X;
}

}  // namespace watersic
