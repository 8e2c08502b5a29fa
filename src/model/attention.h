// Attention between the projections: queries, keys and values of heads, and how they are mixed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "model/config.h"
#include "model/operators.h"
#include "model/rope.h"
#include "watersic/matrix.h"

namespace watersic {

// Projections of a block's tokens, with q/k norms and rotary embeddings.
struct Heads {
  Matrix<float> Q;     // tokens x (heads * head_dim)
  Matrix<float> K, V;  // tokens x (kv_heads * head_dim)
};

// Which tokens see which: windows of a text, sequences with a cache, a tree of prompts.
class Attention {
 public:
  virtual ~Attention() = default;
  // The place in its sequence of each token of the batch.
  virtual std::span<const int64_t> positions() const = 0;
  // softmax(Q K^T / sqrt(d)) V over the tokens that each token sees: tokens x (heads * head_dim).
  // Called once for each block, in their order.
  virtual Matrix<float> mix(ThreadPool& pool, int64_t block, const Heads& heads) = 0;
};

// Windows of `length` tokens one after the other, causal in each.
class WindowAttention final : public Attention {
 public:
  WindowAttention(const ModelConfig& config, int64_t tokens, int64_t length,
                  const Operators& operators = Operators::reference());
  std::span<const int64_t> positions() const override { return positions_; }
  Matrix<float> mix(ThreadPool& pool, int64_t block, const Heads& heads) override;

 private:
  const ModelConfig& config_;
  int64_t length_;
  const Operators& operators_;
  std::vector<int64_t> positions_;
};

// softmax(causal Q K^T / sqrt(d)) V for windows of `length` tokens. Into `received`, if given, goes
// how much attention each token gets from those that can see it, one number a token:
// p_j = 1 / (heads (length - j)) sum over heads and i >= j of the probability A[i, j] (WaterSIC,
// arXiv 2603.04956, section 4.3).
Matrix<float> attend(ThreadPool& pool, const ModelConfig& config, int64_t length,
                     const Heads& heads, std::vector<float>* received = nullptr,
                     const Operators& operators = Operators::reference());

// Each row's heads in place: normalized where there is a norm, then rotated to the row's position.
void place_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                 std::span<const float> norm, std::span<const int64_t> positions,
                 MatrixView<float> Y, const Operators& operators = Operators::reference());
// P := softmax(causal Q K^T / sqrt(d)) for the queries at positions [begin, begin + P.rows()) of a
// sequence and the keys before and at the last of them, P.cols() = begin + P.rows(): one head.
void attention_weights(ThreadPool& pool, MatrixView<const float> Q, MatrixView<const float> K,
                       int64_t begin, MatrixView<float> P,
                       const Operators& operators = Operators::reference());
constexpr int64_t kQueryTile = 128;  // queries of a head whose P is in memory at once

// Where each token of a batch stands in its window.
std::vector<int64_t> window_positions(int64_t tokens, int64_t length);

}  // namespace watersic
