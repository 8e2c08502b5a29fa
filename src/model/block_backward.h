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

// Of a linear layer Y = X W^T and a loss: what the gradient with respect to W is made of.
struct LinearGradient {
  MatrixView<const float> W;   // outputs x inputs
  MatrixView<const float> X;   // tokens x inputs
  MatrixView<const float> dY;  // tokens x outputs: the loss's gradient with respect to Y

  Matrix<float> dW(ThreadPool& pool) const;  // dY^T X
};
// Sees each layer of the block once, from the last to the first, on the caller's thread.
using LinearGradientFn = std::function<void(Linear, const LinearGradient&)>;

// With Y = forward_block(X): dX holds the gradient with respect to Y and becomes that with respect
// to X. All that lies between is computed again from X, so that a pass over a model keeps nothing
// of a block but its input. `gradient` may be empty. Like the forward pass, it does not depend on
// the number of threads.
void backward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                    const BlockWeights& weights, int64_t length, MatrixView<const float> X,
                    MatrixView<float> dX, const LinearGradientFn& gradient);

}  // namespace watersic
