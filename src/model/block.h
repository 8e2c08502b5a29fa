// One transformer block in float32, in stages, so that a caller may look at each stage's input and
// change a layer's weights before the stage runs.
//
// Activations are matrices of tokens x features: the windows of a batch one after the other, all of
// `length` tokens. Each window is computed by itself in fixed tiles: its values depend neither on
// the other windows of the batch nor on the number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/threads.h"
#include "model/attention.h"
#include "model/config.h"
#include "model/linear_layer.h"
#include "model/operators.h"
#include "model/rope.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

// A block's layers, however they are held, and its norms.
struct Block {
  Block() = default;
  Block(const Block&) = default;
  Block& operator=(const Block&) = default;
  Block(Block&&) = default;
  Block& operator=(Block&&) = default;
  virtual ~Block() = default;
  virtual const LinearLayer& layer(Linear linear) const = 0;
  int64_t bytes() const;

  int64_t block = 0;
  std::vector<float> attention_norm, mlp_norm;
  std::vector<float> query_norm, key_norm;  // of one head each; empty without q/k norms
  const Operators* operators = &Operators::reference();
};

// With dense weights.
struct BlockWeights final : Block {
  const LinearLayer& layer(Linear which) const override {
    return linear[static_cast<size_t>(which)];
  }
  std::array<DenseLayer, kLinears> linear;  // by Linear
};

BlockWeights load_block(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                        int64_t block);
void load_norms(const ModelConfig& config, const WeightSource& source, Block& block);

// The stages, for X (tokens x hidden), the stream that the block adds to. Error, naming the block
// and the stage, where an activation is NaN or infinite.
//
//   A = attention_input(X)               the input of q, k, v     (Capture::kQkv)
//   H = attention.mix(project_heads(A))  the input of o           (Capture::kO)
//   add_linear(kOutput, H, X)
//   M = mlp_input(X)                     the input of gate, up    (Capture::kGateUp)
//   G = mlp_hidden(M)                    the input of down        (Capture::kDown)
//   add_linear(kDown, G, X)
Matrix<float> attention_input(ThreadPool& pool, const ModelConfig& config, const Block& block,
                              MatrixView<const float> X);
// The projections of A, placed: row i stands at positions[i].
Heads project_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                    const Block& block, int64_t length, std::span<const int64_t> positions,
                    MatrixView<const float> A);
// Causal grouped-query attention in windows: tokens x (heads * head_dim). `rope` reaches at least
// over `length` positions. `received`: see attend.
Matrix<float> attention(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                        const Block& block, int64_t length, MatrixView<const float> A,
                        std::vector<float>* received = nullptr);
Matrix<float> mlp_input(ThreadPool& pool, const ModelConfig& config, const Block& block,
                        MatrixView<const float> X);
// silu(gate) * up: tokens x intermediate.
Matrix<float> mlp_hidden(ThreadPool& pool, const Block& block, int64_t length,
                         MatrixView<const float> M);
// X += the layer's output for `input`.
void add_linear(ThreadPool& pool, const Block& block, Linear linear, int64_t length,
                MatrixView<const float> input, MatrixView<float> X);

// Sees the inputs of a stage's linear layers, tokens x inputs.
using CaptureFn = std::function<void(Capture, MatrixView<const float>)>;

// All stages; `attention` knows the tokens of X. Of the MLP, which is several times as wide as the
// stream, only so many windows are in memory at a time as have kMlpTokens tokens; `capture`, which
// may be empty, then sees kGateUp and kDown in as many parts.
constexpr int64_t kMlpTokens = 4096;
void forward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                   const Block& block, int64_t length, Attention& attention, MatrixView<float> X,
                   const CaptureFn& capture = {});
// The same for windows of `length` tokens.
void forward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                   const Block& block, int64_t length, MatrixView<float> X,
                   const CaptureFn& capture = {});

}  // namespace watersic
