// What the gradients of a layer's outputs are summed to.
#pragma once

#include <array>
#include <vector>

#include "base/threads.h"
#include "dist/communicator.h"
#include "model/config.h"
#include "pipeline/output_gradients.h"
#include "watersic/matrix.h"

namespace watersic {

// Of one layer, a batch of tokens at a time. Ranks share the tiles of the sums: each adds all
// batches, in their order.
class GradientSums {
 public:
  // g: tokens x outputs.
  void add(ThreadPool& pool, const Communicator& ranks, MatrixView<const float> g);

  // |g|^2 of each token.
  const std::vector<double>& energies() const { return energies_; }
  bool is_diagonal() const { return halves_[0].empty(); }
  // E[g g^T] less what is chance: its lower triangle row by row, or its diagonal where it is too
  // large. Leaves nothing of it.
  std::vector<float> take_metric(ThreadPool& pool, const Communicator& ranks);

 private:
  std::vector<double> energies_;
  std::array<Matrix<float>, 2> halves_;  // sums of g g^T over the halves of all batches
  std::vector<double> diagonal_;
};

// From the energies of a block's layers.
TokenWeights token_weights(const ModelConfig& config,
                           const std::array<GradientSums, kLinears>& sums);

}  // namespace watersic
