#include "pipeline/output_gradients.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "calibration/chance.h"
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

// sum += p (1 - p) over rows of softmax(logits) - [drawn].
void add_logit_metric(ThreadPool& pool, MatrixView<const float> difference,
                      std::span<const int32_t> drawn, std::span<double> sum) {
  constexpr int64_t kTile = 1024;
  const int64_t vocabulary = difference.cols();
  pool.parallel_for(tile_count(vocabulary, kTile), [&](int64_t tile) {
    const int64_t lo = tile * kTile, hi = std::min(vocabulary, lo + kTile);
    for (int64_t i = 0; i < difference.rows(); ++i) {
      for (int64_t v = lo; v < hi; ++v) {
        const double d = difference(i, v), p = v == drawn[static_cast<size_t>(i)] ? 1 + d : d;
        sum[static_cast<size_t>(v)] += p * (1 - p);
      }
    }
  });
}

int64_t token_count(const ModelConfig& config, std::span<const std::vector<int32_t>> windows) {
  const auto length = static_cast<int64_t>(windows.front().size());
  const int64_t each = 2 * static_cast<int64_t>(sizeof(float)) * config.blocks * config.hidden;
  const int64_t most = std::min(OutputGradients::kTokens, OutputGradients::kBytes / each);
  return std::clamp<int64_t>(most / length, 1, static_cast<int64_t>(windows.size())) * length;
}

// G += g g^T over tokens, or its diagonal; contrast: over the first half of them less the rest, of
// whole matrices only.
void add_metric(ThreadPool& pool, MatrixView<const float> g, Matrix<double>& G,
                Matrix<double>& contrast) {
  const int64_t a = g.cols();
  if (a > OutputGradients::kMostRows) {
    if (G.empty()) G = Matrix<double>(1, a);
    for (int64_t i = 0; i < g.rows(); ++i)
      for (int64_t k = 0; k < a; ++k) G(0, k) += static_cast<double>(g(i, k)) * g(i, k);
    return;
  }
  if (G.empty()) G = contrast = Matrix<double>(a, a);
  const int64_t middle = (g.rows() + 1) / 2;
  double sign = 1;
  for (const auto& half : {g.block(0, 0, middle, a), g.block(middle, 0, g.rows() - middle, a)}) {
    Matrix<float> sum(a, a);
    if (half.rows() > 0) gemm(pool, Op::kTranspose, Op::kNone, 1.0F, half, half, 0.0F, sum);
    for (size_t i = 0; i < G.values().size(); ++i) {
      const auto x = static_cast<double>(sum.values()[i]);
      G.values()[i] += x;
      contrast.values()[i] += sign * x;
    }
    sign = -1;
  }
}

// From the energies |g|^2 of the outputs' gradients, by layer and token.
TokenWeights token_weights(const ModelConfig& config,
                           const std::array<std::vector<double>, kLinears>& energies) {
  // The gradients are of one drawn y for each token: a noisy measure of what errors there cost, and
  // a power below 1 is worth more than the measure itself.
  constexpr double kPower = 0.7;
  TokenWeights out;
  for (const LinearSite& site : linear_sites(config, 0)) {
    const std::vector<double>& energy = energies[site.linear];
    std::vector<float>& weights = out[static_cast<size_t>(site.input)];
    weights.resize(energy.size());
    double mean = 0;
    for (const double e : energy) mean += e / static_cast<double>(energy.size());
    if (mean > 0)
      for (size_t t = 0; t < energy.size(); ++t) weights[t] += static_cast<float>(energy[t] / mean);
  }
  for (std::vector<float>& weights : out) {
    const auto tokens = static_cast<double>(weights.size());
    double mean = 0, variance = 0;
    for (float& w : weights) {
      w = std::pow(w, static_cast<float>(kPower));
      mean += static_cast<double>(w) / tokens;
    }
    if (!(mean > 0)) {
      std::ranges::fill(weights, 1.0F);
      continue;
    }
    for (float& w : weights) {
      w = static_cast<float>(static_cast<double>(w) / mean - 1);
      variance += static_cast<double>(w) * w / tokens;
    }
    // A few heavy tokens tell little of the others: sums weighted like this are worth those of
    // 1 / (1 + variance) of the tokens, which shall be half of them at least.
    const auto lean = static_cast<float>(1 / std::sqrt(std::max(1.0, variance)));
    for (float& w : weights) w = 1 + lean * w;
  }
  return out;
}

}  // namespace

OutputGradients::OutputGradients(const Context& context, const ModelConfig& config,
                                 const WeightSource& source,
                                 std::span<const std::vector<int32_t>> windows, uint64_t seed)
    : context_(context),
      pool_(context.pool()),
      config_(config),
      source_(source),
      length_(static_cast<int64_t>(windows.front().size())),
      tokens_(token_count(config, windows)),
      batch_(std::max<int64_t>(1, kBatchTokens / length_) * length_),
      rope_(config, length_),
      inputs_(static_cast<size_t>(config.blocks)),
      gradients_(inputs_.size()) {
  std::vector<Matrix<float>> X;
  const auto each = static_cast<size_t>(batch_ / length_),
             all = static_cast<size_t>(tokens_ / length_);
  for (size_t first = 0; first < all; first += each)
    X.push_back(
        embed_windows(config_, source_, windows.subspan(first, std::min(each, all - first))));
  for (size_t block = 0; block < inputs_.size(); ++block) {
    inputs_[block] = X;
    const BlockWeights weights = load_block(pool_, config_, source_, static_cast<int64_t>(block));
    for (Matrix<float>& batch : X) {
      context_.check();
      forward_block(pool_, config_, rope_, weights, length_, batch);
    }
  }
  {
    const OutputHead head(config_, source_);
    Rng rng(seed);
    head_ = {.S = Matrix<double>(config_.hidden, config_.hidden),
             .metric = Matrix<double>(1, config_.vocabulary)};
    for (Matrix<float>& batch : X) {
      for (int64_t first = 0; first < batch.rows(); first += kLossRows) {
        context_.check();
        const int64_t rows = std::min(kLossRows, batch.rows() - first);
        const MatrixView<float> some = batch.view().block(first, 0, rows, batch.cols());
        Matrix<float> logits = head.logits(pool_, some);
        std::vector<int32_t> drawn;
        for (int64_t i = 0; i < rows; ++i) drawn.push_back(draw(logits.row(i), rng));
        nll_loss(pool_, 1, drawn, logits);
        add_gram(pool_, head.inputs(pool_, some), head_.S);
        add_logit_metric(pool_, logits, drawn, head_.metric.row(0));
        const Matrix<float> gradient = head.backward(pool_, some, logits);
        for (int64_t i = 0; i < rows; ++i) std::ranges::copy(gradient.row(i), some.row(i).begin());
      }
    }
  }
  for (Matrix<double>* sum : {&head_.S, &head_.metric})
    for (double& x : sum->values()) x /= static_cast<double>(tokens_);
  for (size_t block = inputs_.size(); block-- > 0;) {
    gradients_[block] = X;
    if (block == 0) break;
    const BlockWeights weights = load_block(pool_, config_, source_, static_cast<int64_t>(block));
    for (size_t b = 0; b < X.size(); ++b) {
      context_.check();
      backward_block(pool_, config_, rope_, weights, length_, inputs_[block][b], X[b], {});
    }
  }
}

Matrix<double> OutputGradients::stream() const {
  Matrix<double> out(config_.hidden, config_.hidden);
  const BlockWeights weights = load_block(pool_, config_, source_, 0);
  std::vector<Matrix<float>> gradients = gradients_.front();
  for (size_t b = 0; b < gradients.size(); ++b) {
    context_.check();
    backward_block(pool_, config_, rope_, weights, length_, inputs_.front()[b], gradients[b], {});
    add_gram(pool_, gradients[b], out);
  }
  for (double& x : out.values()) x /= static_cast<double>(tokens_);
  return out;
}

BlockGradients OutputGradients::of_block(int64_t block) const {
  OutputMetrics out, contrasts;
  std::array<std::vector<double>, kLinears> energies;
  const BlockWeights weights = load_block(pool_, config_, source_, block);
  const auto& inputs = inputs_[static_cast<size_t>(block)];
  std::vector<Matrix<float>> gradients = gradients_[static_cast<size_t>(block)];
  for (size_t b = 0; b < inputs.size(); ++b) {
    context_.check();
    backward_block(pool_, config_, rope_, weights, length_, inputs[b], gradients[b],
                   [&](Linear linear, const LinearGradient& layer) {
                     for (int64_t i = 0; i < layer.dY.rows(); ++i) {
                       double energy = 0;
                       for (const float g : layer.dY.row(i)) energy += static_cast<double>(g) * g;
                       energies[static_cast<size_t>(linear)].push_back(energy);
                     }
                     add_metric(pool_, layer.dY, out[static_cast<size_t>(linear)],
                                contrasts[static_cast<size_t>(linear)]);
                   });
  }
  for (OutputMetrics* metrics : {&out, &contrasts})
    for (Matrix<double>& G : *metrics)
      for (double& g : G.values()) g /= static_cast<double>(tokens_);
  for (size_t l = 0; l < out.size(); ++l)
    if (!contrasts[l].empty()) shrink_correlations(contrasts[l], out[l]);
  return {.metrics = std::move(out), .tokens = token_weights(config_, energies)};
}

}  // namespace watersic
