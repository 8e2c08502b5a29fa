// What errors of a layer's outputs do to the model's: the second moments of the gradients.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "base/context.h"
#include "io/scratch_file.h"
#include "model/config.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

// Metrics of the outputs of a block's linear layers, by Linear. G = E[g g^T], a x a, over tokens,
// g the gradient of log p(y) with respect to the outputs, and y drawn from the model itself (two
// of them, whose difference has the same moments and needs no product with the head): to second
// order an error e of the outputs makes a KL of 1/2 e^T G e nats, were errors of different
// tokens independent. Of a layer with more than kMostRows outputs the diagonal alone, 1 x a.
using OutputMetrics = std::array<Matrix<double>, kLinears>;

// What each token counts for the layers of a capture point, by Capture; 1 on average. Tokens from
// those on whose gradients were taken count 1.
using TokenWeights = std::array<std::vector<float>, kCaptures>;

// What the output head's matrix sees, and what errors of its logits do: e of token v's logit makes
// a KL of 1/2 E[p_v (1 - p_v)] e^2 nats.
struct HeadStatistics {
  Matrix<double> S;       // E[x x^T] of its normed inputs x
  Matrix<double> metric;  // E[p_v (1 - p_v)], 1 x vocabulary
};

// One forward and one backward pass over the original model, of kTokens at most. In a temporary
// file: the stream at every block's boundary (of as many windows as take kBytes, one at least), and
// the metrics.
class OutputGradients {
 public:
  static constexpr int64_t kMostRows = 8192, kTokens = 16384, kBytes = int64_t{16} << 30;

  // May be stopped between steps. `scratch`: beside which the temporary file is made. `layers`:
  // whether metrics and weights of blocks are wanted.
  OutputGradients(const Context& context, const ModelConfig& config, const WeightSource& source,
                  std::span<const std::vector<int32_t>> windows, uint64_t seed,
                  const std::filesystem::path& scratch, bool layers = true);

  // Only with `layers`.
  Matrix<double> metric(ThreadPool& pool, int64_t block, Linear linear) const;
  OutputMetrics metrics(ThreadPool& pool, int64_t block) const;
  const TokenWeights& token_weights(int64_t block) const {
    return blocks_[static_cast<size_t>(block)].tokens;
  }
  // E[g g^T], n x n, of errors of the stream that enters the first block.
  const Matrix<double>& stream() const { return stream_; }
  const HeadStatistics& head() const { return head_; }

  int64_t tokens() const { return tokens_; }

 private:
  // A layer's metric in the scratch file: the lower triangle row by row, or the diagonal.
  struct Stored {
    int64_t at = 0, rows = 0;
    bool diagonal = false;
  };
  struct BlockGradients {
    std::array<Stored, kLinears> metrics;
    TokenWeights tokens;
  };

  class Pass;

  int64_t tokens_;
  HeadStatistics head_;
  Matrix<double> stream_;
  std::vector<BlockGradients> blocks_;
  ScratchFile scratch_;
};

}  // namespace watersic
