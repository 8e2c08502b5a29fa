// The layer problem (docs/algorithm.md, "The layer problem"): what every quantizer of this room
// takes, and what it gives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bitshift.h"
#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// W: a x n (out-features x in-features). S: n x n, E[x x^T] of the original model's inputs x: what
// distortion, limit and dead features are reckoned with.
//
// Inside a model the layer will see other inputs x', and may have to mend what others broke
// (docs/algorithm.md, "Inside a model"). Then it minimises E|W x + l - V x'|^2, l what the outputs
// have lost elsewhere, which the other moments describe; each may be left empty. (Or l has W (x -
// x') in it, and there is no drift.)
struct LayerProblem {
  MatrixView<const float> W;
  MatrixView<const double> S;
  MatrixView<const double> S_quantized = {};  // n x n, S' = E[x' x'^T]; empty: S
  MatrixView<const float> drift = {};         // n x n, E[(x - x') x'^T]; empty: 0
  MatrixView<const float> lost = {};          // a x n, E[l x'^T]; empty: 0
  // The last two of half of the tokens less those of the other half: what chance makes of them.
  // Empty: they are as exact as they look.
  MatrixView<const float> drift_contrast = {}, lost_contrast = {};
  // G, a x a: errors e of the outputs count e^T G e. Or its diagonal, 1 x a; or empty: all alike.
  // For method watersic; the others don't look at it.
  MatrixView<const double> output_metric = {};
  // Equal parts that the rows come in, such as attention's heads. Outputs of one part are the most
  // alike: with a metric of the outputs rows are quantized one of each part in turn, so that they
  // can make good each other's errors.
  int64_t heads = 1;
};

// Columns that are quantized and columns that are zero; both rising.
struct LiveSet {
  std::vector<int32_t> live, dead;
};

// Dead: S_jj <= 0, or S_jj < threshold * median(diag S). The median, since a few huge features
// would drag a mean.
LiveSet find_live(MatrixView<const double> S, double threshold);

// Integers and scales of one layer, in float64:
//   V[k, live[i]] = t[k] gamma[i] alpha[i] Z(k, i), or with groups
//   V[k, live[i]] = group_scale(k, group of i) Z(k, i).
// Empty t, gamma or alpha are ones; an alpha of one entry serves all columns. With a trellis Z
// holds m, twice the value: read Z / 2. With a rotation this is V R; V is had by undoing it in each
// row.
struct QuantizedLayer {
  int64_t rows = 0, cols = 0;
  LiveSet columns;
  Matrix<int32_t> Z;         // a x live
  int trellis = 0;           // states; 0 without
  int64_t segment_rows = 0;  // with a trellis: the state starts anew after so many rows
  uint32_t rotation = 0;     // seed; 0 without
  // In the runnable layout what Z is stored as; its columns are the live ones.
  Bitshift bitshift;
  std::vector<uint8_t> payload;
  int64_t strands = 1;  // with more, rows (of Z, t, target) are in the order of base/strands.h
  std::vector<double> t, gamma, alpha;
  Matrix<double> group_scale;         // a x groups
  std::vector<int32_t> column_group;  // the group of each live column
  // With a metric of the outputs and feedback: what each row was aimed at, live columns in the
  // loop's order.
  Matrix<float> target;
};

// The live columns of W, and the live rows and columns of S.
Matrix<float> live_columns(MatrixView<const float> W, const LiveSet& columns);
Matrix<double> live_block(ThreadPool& pool, MatrixView<const double> S, const LiveSet& columns);
// The same: S itself where that is all of it in its order, else made in `room`.
MatrixView<const double> live_view(ThreadPool& pool, MatrixView<const double> S,
                                   const LiveSet& columns, Matrix<double>& room);
MatrixView<const float> live_view(ThreadPool& pool, MatrixView<const float> S,
                                  const LiveSet& columns, Matrix<float>& room);

}  // namespace watersic
