// What the layers of a stage are quantized from: moments of their input in the original model and
// in the one quantized so far (docs/algorithm.md, "Inside a model").
#pragma once

#include <cstdint>
#include <span>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// Means over tokens, n x n. x: input in the original model; x': in the quantized one. The last two
// are empty where there is one model only.
struct Moments {
  Matrix<double> S;            // E[x x^T]
  Matrix<double> S_quantized;  // E[x' x'^T]
  Matrix<double> cross;        // E[x x'^T]
};

struct StageStatistics {
  Moments plain;
  // Each token counted p times; divided by the number of tokens, not by the sum of p. Empty where
  // tokens were not weighted.
  Moments weighted;
  // E[(r - r') x'^T], weighted where tokens are: outputs x n; empty where not asked for.
  Matrix<double> residual;
  double capture_error = 0;  // sum |x' - x|^2 / sum |x|^2
};

// One batch of tokens. Only X must be there.
struct StageBatch {
  MatrixView<const float> X, X_quantized;  // tokens x n
  std::span<const float> p;                // a weight for each token
  MatrixView<const float> residual;        // r - r': tokens x outputs
};

// Sums over batches: products in float32, sums in float64.
class StageMoments {
 public:
  // cross: whether E[x x'^T] is wanted of the batches that have an X'. both: whether, of tokens
  // that are weighted, all moments are wanted without weights, too, and not S alone.
  explicit StageMoments(bool cross, bool both = true) : cross_(cross), both_(both) {}

  void add(ThreadPool& pool, const StageBatch& batch);
  int64_t tokens() const { return tokens_; }
  // Leaves the accumulator empty, since its matrices are large.
  StageStatistics take();

 private:
  void add_moments(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Xq,
                   Moments& sums) const;

  bool cross_, both_;
  int64_t tokens_ = 0;
  double error_ = 0, energy_ = 0;
  StageStatistics sums_;
};

}  // namespace watersic
