// A linear layer as a forward pass sees it: outputs from inputs, however its weights are held.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

constexpr int64_t kAnyNumber = INT64_MAX;  // of independent tokens

class LinearLayer {
 public:
  LinearLayer() = default;
  LinearLayer(const LinearLayer&) = default;
  LinearLayer& operator=(const LinearLayer&) = default;
  LinearLayer(LinearLayer&&) = default;
  LinearLayer& operator=(LinearLayer&&) = default;
  virtual ~LinearLayer() = default;

  virtual int64_t outputs() const = 0;
  virtual int64_t inputs() const = 0;
  virtual int64_t bytes() const = 0;  // of memory
  // Of how many tokens at once each one's outputs are, to the last bit, those that it has alone.
  virtual int64_t independent_tokens() const { return 1; }

  // Y = X V^T + bias + beta Y, V the weights (outputs x inputs), X tokens x inputs in windows of
  // `length` tokens: a window's values depend neither on the other windows nor on the threads.
  virtual void apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
                     MatrixView<float> Y) const = 0;
  // Rows of V, as an embedding is read: ids.size() x inputs. The ids are below outputs().
  virtual Matrix<float> rows(ThreadPool& pool, std::span<const int32_t> ids) const = 0;
};

// Weights in float32, which may be changed: what quantization and the backward pass work on.
struct DenseLayer final : LinearLayer {
  DenseLayer() = default;
  explicit DenseLayer(Matrix<float> W, std::vector<float> b = {})
      : weight(std::move(W)), bias(std::move(b)) {}

  int64_t outputs() const override { return weight.rows(); }
  int64_t inputs() const override { return weight.cols(); }
  int64_t bytes() const override;
  void apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
             MatrixView<float> Y) const override;
  Matrix<float> rows(ThreadPool& pool, std::span<const int32_t> ids) const override;

  Matrix<float> weight;     // outputs x inputs
  std::vector<float> bias;  // empty where the layer has none
};

// How a layer's outputs are computed, so that others compute them likewise: by tiles of tokens of
// one window and of outputs.
struct LayerTile {
  int64_t token, tokens;  // of the batch
  int64_t output, outputs;
};
constexpr int64_t kTileTokens = 256, kTileOutputs = 512;
// Calls body for the tiles of all windows at once, so that many threads find work.
void for_each_tile(ThreadPool& pool, int64_t tokens, int64_t length, int64_t outputs,
                   const std::function<void(const LayerTile&)>& body);

}  // namespace watersic
