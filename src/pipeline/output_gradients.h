// What errors of a layer's outputs do to the model's: the second moments of the gradients.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/context.h"
#include "base/threads.h"
#include "model/config.h"
#include "model/rope.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

// Metrics of the outputs of a block's linear layers, by Linear. G = E[g g^T], a x a, over tokens,
// g the gradient of log p(y) with respect to the outputs, and y drawn from the model itself: to
// second order an error e of the outputs makes a KL of 1/2 e^T G e nats, were errors of different
// tokens independent. Of a layer with more than kMostRows outputs the diagonal alone, 1 x a.
using OutputMetrics = std::array<Matrix<double>, kLinears>;

// What each token counts for the layers of a capture point, by Capture; 1 on average. Tokens from
// those on whose gradients were taken count 1.
using TokenWeights = std::array<std::vector<float>, kCaptures>;

struct BlockGradients {
  OutputMetrics metrics;
  TokenWeights tokens;
};

// What the output head's matrix sees, and what errors of its logits do: e of token v's logit makes
// a KL of 1/2 E[p_v (1 - p_v)] e^2 nats.
struct HeadStatistics {
  Matrix<double> S;       // E[x x^T] of its normed inputs x
  Matrix<double> metric;  // E[p_v (1 - p_v)], 1 x vocabulary
};

// One forward and one backward pass over the original model. In memory: the stream and its gradient
// at every block's boundary, of as many windows as fit in kBytes (one at least, and kTokens at
// most).
class OutputGradients {
 public:
  static constexpr int64_t kMostRows = 8192, kTokens = 16384, kBytes = int64_t{2} << 30;

  // May be stopped between steps. `config` and `source` must outlive the object.
  OutputGradients(const Context& context, const ModelConfig& config, const WeightSource& source,
                  std::span<const std::vector<int32_t>> windows, uint64_t seed);

  // Runs the block's backward pass again.
  BlockGradients of_block(int64_t block) const;
  // E[g g^T], n x n, of errors of the stream that enters the first block. Likewise.
  Matrix<double> stream() const;
  const HeadStatistics& head() const { return head_; }

  int64_t tokens() const { return tokens_; }

 private:
  Context context_;
  ThreadPool& pool_;
  const ModelConfig& config_;
  const WeightSource& source_;
  int64_t length_, tokens_, batch_;  // tokens of a window, of all, and of a batch of windows
  RopeTable rope_;
  std::vector<std::vector<Matrix<float>>> inputs_;     // by block and batch: the stream before it
  std::vector<std::vector<Matrix<float>>> gradients_;  // with respect to the stream behind it
  HeadStatistics head_;
};

}  // namespace watersic
