// Successive interference cancellation: the loop that WaterSIC and GPTQ share (docs/algorithm.md,
// "ZSIC"). Columns are quantized from the last to the first, and each one's error is carried to
// those before it through the Cholesky factor.
//
// Everything is stored transposed, a column of the layer as a contiguous row, since the loop works
// down columns: Yt = (W L)^T is n x a.
#pragma once

#include <cstdint>
#include <span>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// Rows of the layer are worked on in tiles of this many: the unit of threads and of sums.
constexpr int64_t kRowTile = 1024;

// How one column is quantized. T is float, or double as the reference.
template <class T>
class ColumnQuantizer {
 public:
  virtual ~ColumnQuantizer() = default;

  // Called before columns [lo, hi) of a panel, the last panel first. Y: their rows of Yt, with the
  // error of all later columns carried in; L: their diagonal block of the factor.
  virtual void begin_panel(int64_t /*lo*/, int64_t /*hi*/, MatrixView<const T> /*Y*/,
                           MatrixView<const T> /*L*/) {}

  // y: Y[:, i] (one entry a row), in units of the rotated domain. Writes the integers z and the
  // values v = V[:, i] that they stand for, in place of y.
  virtual void quantize(int64_t i, std::span<T> y, std::span<int32_t> z) = 0;
};

// Runs the loop. L: n x n lower triangular; Yt: n x a, becomes V^T: nothing looks at y any more
// once it is quantized, and of a tall layer a copy would count. Zt: n x a, filled. `panel`: columns
// between calls of begin_panel, counted from the last column; 0 for a single panel.
template <class T>
void cancel_successively(ThreadPool& pool, MatrixView<const T> L, MatrixView<T> Yt, int64_t panel,
                         ColumnQuantizer<T>& quantizer, MatrixView<int32_t> Zt);

}  // namespace watersic
