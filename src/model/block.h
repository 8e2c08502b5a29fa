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
#include "model/config.h"
#include "model/rope.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

struct LinearWeights {
  Matrix<float> weight;     // outputs x inputs
  std::vector<float> bias;  // empty where the layer has none
};

struct BlockWeights {
  int64_t block = 0;
  std::array<LinearWeights, kLinears> linear;  // by Linear
  std::vector<float> attention_norm, mlp_norm;
  std::vector<float> query_norm, key_norm;  // of one head each; empty without q/k norms

  int64_t bytes() const;
};

BlockWeights load_block(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                        int64_t block);

// The stages, for X (tokens x hidden), the stream that the block adds to. Error, naming the block
// and the stage, where an activation is NaN or infinite.
//
//   A = attention_input(X)               the input of q, k, v     (Capture::kQkv)
//   H = attention(A)                     the input of o           (Capture::kO)
//   add_linear(kOutput, H, X)
//   M = mlp_input(X)                     the input of gate, up    (Capture::kGateUp)
//   G = mlp_hidden(M)                    the input of down        (Capture::kDown)
//   add_linear(kDown, G, X)
Matrix<float> attention_input(ThreadPool& pool, const ModelConfig& config,
                              const BlockWeights& weights, MatrixView<const float> X);
// Causal grouped-query attention over the heads, with q/k norms and rotary embeddings: tokens x
// (heads * head_dim). `rope` reaches at least over `length` positions. `received`: see attend.
Matrix<float> attention(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                        const BlockWeights& weights, int64_t length, MatrixView<const float> A,
                        std::vector<float>* received = nullptr);
Matrix<float> mlp_input(ThreadPool& pool, const ModelConfig& config, const BlockWeights& weights,
                        MatrixView<const float> X);
// silu(gate) * up: tokens x intermediate.
Matrix<float> mlp_hidden(ThreadPool& pool, const BlockWeights& weights, int64_t length,
                         MatrixView<const float> M);
// X += the layer's output for `input`.
void add_linear(ThreadPool& pool, const BlockWeights& weights, Linear linear, int64_t length,
                MatrixView<const float> input, MatrixView<float> X);

// What attention is made of, for a caller that keeps keys and values: the projections of A, with
// q/k norms and rotary embeddings. Row i stands at positions[i]; `length` rows are computed as one
// window.
struct Heads {
  Matrix<float> Q;     // tokens x (heads * head_dim)
  Matrix<float> K, V;  // tokens x (kv_heads * head_dim)
};
Heads project_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                    const BlockWeights& weights, int64_t length, std::span<const int64_t> positions,
                    MatrixView<const float> A);

// softmax(causal Q K^T / sqrt(d)) V, head by head: tokens x (heads * head_dim). Into `received`, if
// given, goes how much attention each token gets from those that can see it, one number a token:
// p_j = 1 / (heads (length - j)) sum over heads and i >= j of the probability A[i, j] (WaterSIC,
// arXiv 2603.04956, section 4.3).
Matrix<float> attend(ThreadPool& pool, const ModelConfig& config, int64_t length,
                     const Heads& heads, std::vector<float>* received = nullptr);

// Parts that the backward pass computes again (block_backward.h).
//
// Y = X W^T + bias + beta Y, window by window.
void apply_linear(ThreadPool& pool, const LinearWeights& layer, int64_t length,
                  MatrixView<const float> X, float beta, MatrixView<float> Y);
// Each row's heads in place: normalized where there is a norm, then rotated to the row's position.
void place_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                 std::span<const float> norm, std::span<const int64_t> positions,
                 MatrixView<float> Y);
// P := softmax(causal Q K^T / sqrt(d)) for the queries at positions [begin, begin + P.rows()) of a
// window and the keys before and at the last of them, P.cols() = begin + P.rows(): one head.
void attention_weights(ThreadPool& pool, MatrixView<const float> Q, MatrixView<const float> K,
                       int64_t begin, MatrixView<float> P);
constexpr int64_t kQueryTile = 128;  // queries of a head whose P is in memory at once

// Where each token of a batch stands in its window.
std::vector<int64_t> window_positions(int64_t tokens, int64_t length);

// Sees the inputs of a stage's linear layers, tokens x inputs.
using CaptureFn = std::function<void(Capture, MatrixView<const float>)>;

// All stages. `capture` may be empty.
void forward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                   const BlockWeights& weights, int64_t length, MatrixView<float> X,
                   const CaptureFn& capture = {});

// Y = X / rms(X) * weight, row by row; the squares are summed in float64. X and Y may be the same.
void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y);
// Over all rows of X; Y likewise.
void rms_norm(ThreadPool& pool, MatrixView<const float> X, std::span<const float> weight,
              double epsilon, MatrixView<float> Y);

// softmax(x) in place; sums in float64.
void softmax(std::span<float> x);
// gate := silu(gate) * up
void gate_with(std::span<float> gate, std::span<const float> up);

// Error "block B: WHAT: expected finite values, ..." where X holds NaN or infinity.
void check_finite(ThreadPool& pool, int64_t block, const char* what, MatrixView<const float> X);

}  // namespace watersic
