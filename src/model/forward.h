// The forward pass over many token windows, block by block: in memory are the windows' activations
// and one block's weights, never the model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/context.h"
#include "base/threads.h"
#include "model/block.h"
#include "model/config.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

// One row for each id. Error where an id is not below the vocabulary.
Matrix<float> embed(const ModelConfig& config, const WeightSource& source,
                    std::span<const int32_t> ids);
void check_ids(const ModelConfig& config, std::span<const int32_t> ids);
// Of windows of one length, one after the other.
std::vector<int32_t> joined(std::span<const std::vector<int32_t>> windows);
Matrix<float> embed_windows(const ModelConfig& config, const WeightSource& source,
                            std::span<const std::vector<int32_t>> windows);

// The final norm and the output head, held in float32.
class OutputHead {
 public:
  OutputHead(const ModelConfig& config, const WeightSource& source);
  // Logits, tokens x vocabulary, of the last block's output X. Callers stream: a few hundred tokens
  // at a time.
  Matrix<float> logits(ThreadPool& pool, MatrixView<const float> X) const;
  // What the head's matrix sees: X through the final norm.
  Matrix<float> inputs(ThreadPool& pool, MatrixView<const float> X) const;
  // The gradient of a loss with respect to X, given that with respect to X's logits.
  Matrix<float> backward(ThreadPool& pool, MatrixView<const float> X,
                         MatrixView<const float> dlogits) const;
  // The same of row i's logit of token to[i], less that of from[i], times `scale`.
  Matrix<float> backward(ThreadPool& pool, MatrixView<const float> X, std::span<const int32_t> to,
                         std::span<const int32_t> from, float scale) const;

 private:
  double epsilon_;
  std::vector<float> norm_;
  Matrix<float> head_;  // vocabulary x hidden
};

// A model as forward passes go through it: from ids, block by block, to logits.
class ForwardModel {
 public:
  virtual ~ForwardModel() = default;
  virtual const ModelConfig& config() const = 0;
  // As LinearLayer's, of the layers: what attention adds depends on how a text is cut.
  virtual int64_t independent_tokens() const { return 1; }
  // One row for each id. Error where an id is not below the vocabulary.
  virtual Matrix<float> embed(ThreadPool& pool, std::span<const int32_t> ids) const = 0;
  virtual std::shared_ptr<const Block> block(ThreadPool& pool, int64_t index) const = 0;
  // As OutputHead::logits.
  virtual Matrix<float> logits(ThreadPool& pool, MatrixView<const float> X) const = 0;
};

// In float32, each block loaded from a source when it is its turn: in memory are one block and the
// output head, from when it is first used.
class LoadedModel final : public ForwardModel {
 public:
  // Both must outlive the object.
  LoadedModel(const ModelConfig& config, const WeightSource& source)
      : config_(config), source_(source) {}

  const ModelConfig& config() const override { return config_; }
  Matrix<float> embed(ThreadPool& pool, std::span<const int32_t> ids) const override;
  std::shared_ptr<const Block> block(ThreadPool& pool, int64_t index) const override;
  Matrix<float> logits(ThreadPool& pool, MatrixView<const float> X) const override;

 private:
  const ModelConfig& config_;
  const WeightSource& source_;
  mutable std::once_flag once_;
  mutable std::optional<OutputHead> head_;
};

// Sees what forward_block captures: the inputs of the linear layers of a block, for a batch of
// windows. Called from the caller's thread, in a fixed order.
using ObserverFn = std::function<void(int64_t block, Capture, MatrixView<const float>)>;

// The last block's output for all windows, (windows * length) x hidden. All windows are of one
// length. They run in batches of about kBatchTokens tokens, which bounds the temporaries and
// changes no value.
constexpr int64_t kBatchTokens = 4096;
Matrix<float> forward_all(const Context& context, const ForwardModel& model,
                          std::span<const std::vector<int32_t>> windows,
                          const ObserverFn& observer = {});
Matrix<float> forward_all(const Context& context, const ModelConfig& config,
                          const WeightSource& source, std::span<const std::vector<int32_t>> windows,
                          const ObserverFn& observer = {});

}  // namespace watersic
