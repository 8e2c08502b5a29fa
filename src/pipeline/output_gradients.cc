#include "pipeline/output_gradients.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "linalg/blas.h"
#include "model/block_backward.h"
#include "model/forward.h"
#include "model/model_backward.h"

namespace watersic {
namespace {

// A token drawn from softmax(logits).
int32_t draw(std::span<const float> logits, Rng& rng) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float l : logits) sum += static_cast<double>(std::exp(l - top));
  double left = rng.uniform() * sum;
  for (size_t i = 0; i < logits.size(); ++i) {
    left -= static_cast<double>(std::exp(logits[i] - top));
    if (left < 0) return static_cast<int32_t>(i);
  }
  return static_cast<int32_t>(logits.size() - 1);
}

int64_t token_count(const ModelConfig& config, std::span<const std::vector<int32_t>> windows) {
  const auto length = static_cast<int64_t>(windows.front().size());
  const int64_t each = 2 * static_cast<int64_t>(sizeof(float)) * config.blocks * config.hidden;
  const int64_t most = std::min(OutputGradients::kTokens, OutputGradients::kBytes / each);
  return std::clamp<int64_t>(most / length, 1, static_cast<int64_t>(windows.size())) * length;
}

}  // namespace

OutputGradients::OutputGradients(ThreadPool& pool, const ModelConfig& config,
                                 const WeightSource& source,
                                 std::span<const std::vector<int32_t>> windows, uint64_t seed,
                                 std::function<void()> tick)
    : pool_(pool),
      config_(config),
      source_(source),
      tick_(std::move(tick)),
      length_(static_cast<int64_t>(windows.front().size())),
      tokens_(token_count(config, windows)),
      batch_(std::max<int64_t>(1, kBatchTokens / length_) * length_),
      rope_(config, length_),
      inputs_(static_cast<size_t>(config.blocks)),
      gradients_(inputs_.size()) {
  std::vector<Matrix<float>> X;
  const auto each = static_cast<size_t>(batch_ / length_),
             all = static_cast<size_t>(tokens_ / length_);
  for (size_t first = 0; first < all; first += each) {
    std::vector<int32_t> ids;
    for (const auto& window : windows.subspan(first, std::min(each, all - first)))
      ids.insert(ids.end(), window.begin(), window.end());
    X.push_back(embed(config_, source_, ids));
  }
  for (size_t block = 0; block < inputs_.size(); ++block) {
    inputs_[block] = X;
    const BlockWeights weights = load_block(pool_, config_, source_, static_cast<int64_t>(block));
    for (Matrix<float>& batch : X) {
      tick_();
      forward_block(pool_, config_, rope_, weights, length_, batch);
    }
  }
  {
    const OutputHead head(config_, source_);
    Rng rng(seed);
    for (Matrix<float>& batch : X) {
      for (int64_t first = 0; first < batch.rows(); first += kLossRows) {
        tick_();
        const int64_t rows = std::min(kLossRows, batch.rows() - first);
        const MatrixView<float> some = batch.view().block(first, 0, rows, batch.cols());
        Matrix<float> logits = head.logits(pool_, some);
        std::vector<int32_t> drawn;
        for (int64_t i = 0; i < rows; ++i) drawn.push_back(draw(logits.row(i), rng));
        nll_loss(pool_, 1, drawn, logits);
        const Matrix<float> gradient = head.backward(pool_, some, logits);
        for (int64_t i = 0; i < rows; ++i) std::ranges::copy(gradient.row(i), some.row(i).begin());
      }
    }
  }
  for (size_t block = inputs_.size(); block-- > 0;) {
    gradients_[block] = X;
    if (block == 0) break;
    const BlockWeights weights = load_block(pool_, config_, source_, static_cast<int64_t>(block));
    for (size_t b = 0; b < X.size(); ++b) {
      tick_();
      backward_block(pool_, config_, rope_, weights, length_, inputs_[block][b], X[b], {});
    }
  }
}

OutputMetrics OutputGradients::metrics(int64_t block) const {
  OutputMetrics out;
  const BlockWeights weights = load_block(pool_, config_, source_, block);
  const auto& inputs = inputs_[static_cast<size_t>(block)];
  std::vector<Matrix<float>> gradients = gradients_[static_cast<size_t>(block)];
  for (size_t b = 0; b < inputs.size(); ++b) {
    tick_();
    backward_block(pool_, config_, rope_, weights, length_, inputs[b], gradients[b],
                   [&](Linear linear, const LinearGradient& layer) {
                     const int64_t a = layer.dY.cols();
                     Matrix<double>& G = out[static_cast<size_t>(linear)];
                     if (G.rows() == 0) G = Matrix<double>(a > kMostRows ? 1 : a, a);
                     if (G.rows() == 1) {
                       for (int64_t i = 0; i < layer.dY.rows(); ++i)
                         for (int64_t k = 0; k < a; ++k)
                           G(0, k) += static_cast<double>(layer.dY(i, k)) * layer.dY(i, k);
                       return;
                     }
                     Matrix<float> sum(a, a);
                     gemm(pool_, Op::kTranspose, Op::kNone, 1.0F, layer.dY, layer.dY, 0.0F, sum);
                     for (size_t i = 0; i < G.values().size(); ++i)
                       G.values()[i] += static_cast<double>(sum.values()[i]);
                   });
  }
  for (Matrix<double>& G : out)
    for (double& g : G.values()) g /= static_cast<double>(tokens_);
  return out;
}

}  // namespace watersic
