// A block's backward pass, beside its forward pass in block.h.
#pragma once

#include <cstdint>
#include <functional>

#include "base/threads.h"
#include "model/block.h"
#include "model/config.h"
#include "model/rope.h"
#include "watersic/matrix.h"

namespace watersic {

// Sees the gradient of a loss with respect to a linear layer's weight, outputs x inputs: each layer
// of the block once, from the last to the first, on the caller's thread.
using WeightGradientFn = std::function<void(Linear, MatrixView<const float> dW)>;

// With Y = forward_block(X): dX holds the gradient with respect to Y and becomes that with respect
// to X. All that lies between is computed again from X, so that a pass over a model keeps nothing
// of a block but its input. `gradient` may be empty. Like the forward pass, it does not depend on
// the number of threads.
void backward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                    const BlockWeights& weights, int64_t length, MatrixView<const float> X,
                    MatrixView<float> dX, const WeightGradientFn& gradient);

}  // namespace watersic
