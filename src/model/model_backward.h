// The gradient of a loss on a model's logits with respect to the weights of its linear layers.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/threads.h"
#include "model/block_backward.h"
#include "model/config.h"
#include "model/forward.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

// The loss of some tokens: rows [first, first + logits.rows()) of the batch, window by window.
// Takes their logits and leaves the loss's gradient with respect to them.
using LossFn = std::function<double(int64_t first, MatrixView<float> logits)>;

// As LinearGradientFn; of which block.
using ModelGradientFn = std::function<void(int64_t block, Linear, const LinearGradient&)>;

// The sum of the loss over the tokens of `windows`, all of one length, and its gradient with
// respect to every linear weight, from the last block to the first. The windows run as one batch:
// in memory are the inputs of all blocks for it, one block's weights, and the logits of kLossRows
// tokens; the weights are loaded twice.
constexpr int64_t kLossRows = 256;
double model_backward(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                      const OutputHead& head, std::span<const std::vector<int32_t>> windows,
                      const LossFn& loss, const ModelGradientFn& gradient);

// KL(softmax(reference) || softmax(logits)), summed over the rows, in nats; leaves the gradient of
// that times `scale` in `logits`; `reference` is spoilt. Exponentials in float32, sums in float64.
double kl_loss(ThreadPool& pool, float scale, MatrixView<float> reference,
               MatrixView<float> logits);

}  // namespace watersic
