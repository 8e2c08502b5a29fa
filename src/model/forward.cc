#include "model/forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "linalg/blas.h"
#include "model/operators_backward.h"
#include "watersic/error.h"

namespace watersic {

void check_ids(const ModelConfig& config, std::span<const int32_t> ids) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= config.vocabulary) {
      throw Error(fmt::format("expected token ids below the vocabulary's {}, found {}",
                              config.vocabulary, id));
    }
  }
}

Matrix<float> embed(const ModelConfig& config, const WeightSource& source,
                    std::span<const int32_t> ids) {
  check_ids(config, ids);
  return source.rows(kEmbedding, {ids.begin(), ids.end()});
}

std::vector<int32_t> joined(std::span<const std::vector<int32_t>> windows) {
  std::vector<int32_t> ids;
  for (const auto& window : windows) {
    assert(window.size() == windows.front().size());
    ids.insert(ids.end(), window.begin(), window.end());
  }
  return ids;
}

Matrix<float> embed_windows(const ModelConfig& config, const WeightSource& source,
                            std::span<const std::vector<int32_t>> windows) {
  return embed(config, source, joined(windows));
}

OutputHead::OutputHead(const ModelConfig& config, const WeightSource& source)
    : epsilon_(config.norm_epsilon),
      norm_(source.vector(kFinalNorm)),
      head_(source.matrix(config.tied_embeddings ? kEmbedding : kHead)) {}

Matrix<float> OutputHead::inputs(ThreadPool& pool, MatrixView<const float> X) const {
  Matrix<float> Y(X.rows(), X.cols());
  rms_norm(pool, X, norm_, epsilon_, Y);
  return Y;
}

Matrix<float> OutputHead::logits(ThreadPool& pool, MatrixView<const float> X) const {
  const Matrix<float> Y = inputs(pool, X);
  Matrix<float> logits(X.rows(), head_.rows());
  gemm(pool, Op::kNone, Op::kTranspose, 1.0F, Y, head_, 0.0F, logits);
  return logits;
}

Matrix<float> OutputHead::backward(ThreadPool& pool, MatrixView<const float> X,
                                   MatrixView<const float> dlogits) const {
  Matrix<float> dX(X.rows(), X.cols());
  gemm(pool, Op::kNone, Op::kNone, 1.0F, dlogits, head_, 0.0F, dX);
  rms_norm_backward(pool, X, norm_, epsilon_, dX);
  return dX;
}

Matrix<float> OutputHead::backward(ThreadPool& pool, MatrixView<const float> X,
                                   std::span<const int32_t> to, std::span<const int32_t> from,
                                   float scale) const {
  Matrix<float> dX(X.rows(), X.cols());
  by_rows(pool, X.rows(), [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    const auto more = head_.row(to[at]), less = head_.row(from[at]);
    for (int64_t j = 0; j < X.cols(); ++j)
      dX(i, j) = scale * (more[static_cast<size_t>(j)] - less[static_cast<size_t>(j)]);
  });
  rms_norm_backward(pool, X, norm_, epsilon_, dX);
  return dX;
}

Matrix<float> LoadedModel::embed(ThreadPool& /*pool*/, std::span<const int32_t> ids) const {
  return watersic::embed(config_, source_, ids);
}

std::shared_ptr<const Block> LoadedModel::block(ThreadPool& pool, int64_t index) const {
  return std::make_shared<BlockWeights>(load_block(pool, config_, source_, index));
}

Matrix<float> LoadedModel::logits(ThreadPool& pool, MatrixView<const float> X) const {
  std::call_once(once_, [&] { head_.emplace(config_, source_); });
  return head_->logits(pool, X);
}

Matrix<float> forward_all(const Context& context, const ForwardModel& model,
                          std::span<const std::vector<int32_t>> windows,
                          const ObserverFn& observer) {
  if (windows.empty()) return {};
  ThreadPool& pool = context.pool();
  const ModelConfig& config = model.config();
  const auto count = static_cast<int64_t>(windows.size());
  const auto length = static_cast<int64_t>(windows.front().size());
  if (length > config.max_positions) {
    throw Error(fmt::format("expected windows of at most {} tokens, the model's context, found {}",
                            config.max_positions, length));
  }
  Matrix<float> X = model.embed(pool, joined(windows));
  if (length == 0) return X;

  const RopeTable rope(config, length);
  const int64_t batch = std::max<int64_t>(1, kBatchTokens / length);
  for (int64_t block = 0; block < config.blocks; ++block) {
    const auto layers = model.block(pool, block);
    const CaptureFn capture = [&](Capture point, MatrixView<const float> input) {
      observer(block, point, input);
    };
    for (int64_t begin = 0; begin < count; begin += batch) {
      const int64_t tokens = std::min(batch, count - begin) * length;
      forward_block(pool, config, rope, *layers, length,
                    X.view().block(begin * length, 0, tokens, config.hidden),
                    observer ? capture : CaptureFn());
    }
    context.tell("forward", "blocks", block + 1, config.blocks);
  }
  return X;
}

Matrix<float> forward_all(const Context& context, const ModelConfig& config,
                          const WeightSource& source, std::span<const std::vector<int32_t>> windows,
                          const ObserverFn& observer) {
  return forward_all(context, LoadedModel(config, source), windows, observer);
}

}  // namespace watersic
