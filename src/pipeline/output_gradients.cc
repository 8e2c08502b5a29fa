#include "pipeline/output_gradients.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "linalg/blas.h"
#include "model/block_backward.h"
#include "model/forward.h"
#include "model/model_backward.h"
#include "model/rope.h"
#include "pipeline/gradient_sums.h"

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
  const int64_t each = static_cast<int64_t>(sizeof(float)) * config.blocks * config.hidden;
  const int64_t most = std::min(OutputGradients::kTokens, OutputGradients::kBytes / each);
  return std::clamp<int64_t>(most / length, 1, static_cast<int64_t>(windows.size())) * length;
}

}  // namespace

// The two passes, which leave what they find in `out`.
class OutputGradients::Pass {
 public:
  Pass(const Context& context, const ModelConfig& config, const WeightSource& source,
       int64_t length, OutputGradients& out)
      : context_(context),
        pool_(context.pool()),
        config_(config),
        source_(source),
        length_(length),
        rope_(config, length),
        inputs_(static_cast<size_t>(config.blocks)),
        out_(out) {}

  void forward(std::span<const std::vector<int32_t>> windows) {
    const auto each = static_cast<size_t>(std::max<int64_t>(1, kBatchTokens / length_));
    for (size_t first = 0; first < windows.size(); first += each)
      X_.push_back(embed_windows(config_, source_,
                                 windows.subspan(first, std::min(each, windows.size() - first))));
    for (int64_t block = 0; block < config_.blocks; ++block) {
      inputs_[static_cast<size_t>(block)] = X_;
      const BlockWeights weights = load_block(pool_, config_, source_, block);
      for (Matrix<float>& batch : X_) {
        context_.check();
        forward_block(pool_, config_, rope_, weights, length_, batch);
      }
    }
  }

  // From the last block's output to the gradient there.
  void through_head(uint64_t seed) {
    const OutputHead head(config_, source_);
    Rng rng(seed);
    HeadStatistics& sums = out_.head_;
    sums = {.S = Matrix<double>(config_.hidden, config_.hidden),
            .metric = Matrix<double>(1, config_.vocabulary)};
    for (Matrix<float>& batch : X_) {
      for (int64_t first = 0; first < batch.rows(); first += kLossRows) {
        context_.check();
        const int64_t rows = std::min(kLossRows, batch.rows() - first);
        const MatrixView<float> some = batch.view().block(first, 0, rows, batch.cols());
        Matrix<float> logits = head.logits(pool_, some);
        std::vector<int32_t> drawn;
        for (int64_t i = 0; i < rows; ++i) drawn.push_back(draw(logits.row(i), rng));
        nll_loss(pool_, 1, drawn, logits);
        add_gram(pool_, head.inputs(pool_, some), sums.S);
        add_logit_metric(pool_, logits, drawn, sums.metric.row(0));
        const Matrix<float> gradient = head.backward(pool_, some, logits);
        for (int64_t i = 0; i < rows; ++i) std::ranges::copy(gradient.row(i), some.row(i).begin());
      }
    }
    for (Matrix<double>* sum : {&sums.S, &sums.metric}) mean_of(*sum);
  }

  void backward(bool layers) {
    if (layers) out_.blocks_.resize(inputs_.size());
    for (int64_t block = config_.blocks - 1; block >= 0; --block) {
      const BlockWeights weights = load_block(pool_, config_, source_, block);
      std::array<GradientSums, kLinears> sums;
      LinearGradientFn seen;
      if (layers)
        seen = [&](Linear linear, const LinearGradient& layer) {
          sums[linear].add(pool_, layer.dY);
        };
      std::vector<Matrix<float>>& inputs = inputs_[static_cast<size_t>(block)];
      for (size_t b = 0; b < X_.size(); ++b) {
        context_.check();
        backward_block(pool_, config_, rope_, weights, length_, inputs[b], X_[b], seen);
        inputs[b] = {};
      }
      if (layers) keep(sums, out_.blocks_[static_cast<size_t>(block)]);
    }
    Matrix<double>& stream = out_.stream_;
    stream = Matrix<double>(config_.hidden, config_.hidden);
    for (const Matrix<float>& gradient : X_) add_gram(pool_, gradient, stream);
    mean_of(stream);
  }

 private:
  void mean_of(Matrix<double>& sum) const {
    for (double& x : sum.values()) x /= static_cast<double>(out_.tokens_);
  }
  void keep(std::array<GradientSums, kLinears>& sums, BlockGradients& block) {
    block.tokens = watersic::token_weights(config_, sums);
    for (const LinearSite& site : linear_sites(config_, 0)) {
      GradientSums& layer = sums[site.linear];
      Stored& stored = block.metrics[site.linear];
      stored = {.at = 0, .rows = site.rows, .diagonal = layer.is_diagonal()};
      stored.at = out_.scratch_.put(layer.take_metric());
    }
  }

  const Context& context_;
  ThreadPool& pool_;
  const ModelConfig& config_;
  const WeightSource& source_;
  int64_t length_;
  RopeTable rope_;
  std::vector<Matrix<float>> X_;                    // by batch: the stream, and then its gradient
  std::vector<std::vector<Matrix<float>>> inputs_;  // by block and batch: the stream before it
  OutputGradients& out_;
};

OutputGradients::OutputGradients(const Context& context, const ModelConfig& config,
                                 const WeightSource& source,
                                 std::span<const std::vector<int32_t>> windows, uint64_t seed,
                                 const std::filesystem::path& scratch, bool layers)
    : tokens_(token_count(config, windows)), scratch_(scratch) {
  const auto length = static_cast<int64_t>(windows.front().size());
  Pass pass(context, config, source, length, *this);
  pass.forward(windows.first(static_cast<size_t>(tokens_ / length)));
  pass.through_head(seed);
  pass.backward(layers);
}

Matrix<double> OutputGradients::metric(int64_t block, Linear linear) const {
  const Stored& stored = blocks_[static_cast<size_t>(block)].metrics[linear];
  const int64_t a = stored.rows;
  std::vector<float> values(static_cast<size_t>(stored.diagonal ? a : a * (a + 1) / 2));
  scratch_.get(stored.at, values);
  Matrix<double> out(stored.diagonal ? 1 : a, a);
  if (stored.diagonal) {
    std::ranges::copy(values, out.row(0).begin());
    return out;
  }
  const float* next = values.data();
  for (int64_t i = 0; i < a; ++i)
    for (int64_t j = 0; j <= i; ++j) out(i, j) = out(j, i) = *next++;
  return out;
}

OutputMetrics OutputGradients::metrics(int64_t block) const {
  OutputMetrics out;
  for (size_t l = 0; l < out.size(); ++l) out[l] = metric(block, static_cast<Linear>(l));
  return out;
}

}  // namespace watersic
