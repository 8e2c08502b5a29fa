// What the gradients of a layer's outputs are summed to.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "calibration/halves.h"
#include "model/config.h"
#include "pipeline/output_gradients.h"
#include "watersic/matrix.h"

namespace watersic {

// Of one layer, a batch of tokens at a time, in the order of the batches.
class GradientSums {
 public:
  GradientSums(int64_t tokens, int64_t outputs);

  // g: tokens x outputs. By the rank that has the batch, whose first token is `row`.
  void look(ThreadPool& pool, int64_t row, MatrixView<const float> g);
  // By all who hear of it.
  void add(ThreadPool& pool, const Halves& halves, Half batch, MatrixView<const float> g);

  // By all ranks, before what follows.
  void gather(const Halves& halves);
  // |g|^2 of each token.
  const std::vector<double>& energies() const { return energies_; }
  bool is_diagonal() const;
  // E[g g^T] less what is chance: its lower triangle row by row, or its diagonal where it is too
  // large. Leaves nothing of it.
  std::vector<float> take_metric(ThreadPool& pool);

 private:
  int64_t outputs_;
  std::vector<double> energies_;
  // Of the halves of all tokens: sums of g g^T, or of its diagonal.
  std::array<Matrix<float>, 2> grams_;
  std::array<std::vector<double>, 2> diagonals_;
};

// From the energies of a block's layers, by Linear.
TokenWeights token_weights(const ModelConfig& config, std::span<const GradientSums> sums);

}  // namespace watersic
