#include "pipeline/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "encode/encode_layer.h"
#include "model/forward.h"
#include "model/model_backward.h"
#include "pipeline/streams.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr int64_t kJudgedTokens = 4096;  // at least one window
// The slope of log2 KL over bits that is believed: 2 where KL follows the distortion; measured
// slopes stray from it by noise and where a layer's errors are not small any more.
constexpr double kLeastSlope = 1.2, kMostSlope = 3;

// The last block's output of the model with one of its layers changed.
struct Variant {
  size_t layer;  // whose, of the result
  int rate;
  Matrix<float> X;
};

class SensitivityMeter {
 public:
  SensitivityMeter(const Context& context, const ModelConfig& config, const WeightSource& source,
                   std::span<const std::vector<int32_t>> windows)
      : context_(context),
        pool_(context.pool()),
        config_(config),
        source_(source),
        length_(static_cast<int64_t>(windows.front().size())),
        rope_(config, length_),
        head_(config, source) {
    const auto judged = static_cast<size_t>(std::max<int64_t>(1, kJudgedTokens / length_));
    original_ = embed_windows(config, source, windows.first(std::min(windows.size(), judged)));
    last_ = original_;
    for (int64_t block = 0; block < config_.blocks; ++block)
      forward(load_block(pool_, config_, source_, block), last_);
  }

  // The model's next block; all variants of it.
  void judge(const BlockWeights& weights, std::vector<Variant>& variants,
             std::span<LayerSensitivity> layers) {
    for (int64_t block = weights.block + 1; block < config_.blocks && !variants.empty(); ++block) {
      const BlockWeights later = load_block(pool_, config_, source_, block);
      for (Variant& variant : variants) {
        context_.check();
        forward(later, variant.X);
      }
    }
    for (const Variant& variant : variants)
      layers[variant.layer].kl_bits[static_cast<size_t>(variant.rate)] = 0;
    constexpr int64_t kRows = 256;
    for (int64_t row = 0; row < last_.rows(); row += kRows) {
      const int64_t rows = std::min(kRows, last_.rows() - row);
      const Matrix<float> logits = head_.logits(pool_, part(last_, row, rows));
      for (const Variant& variant : variants) {
        Matrix<float> reference = logits, mine = head_.logits(pool_, part(variant.X, row, rows));
        layers[variant.layer].kl_bits[static_cast<size_t>(variant.rate)] +=
            kl_loss(pool_, 1, reference, mine) /
            (static_cast<double>(last_.rows()) * std::numbers::ln2);
      }
      context_.check();
    }
    forward(weights, original_);
  }

  // The stream before the block that is judged next, through that block.
  Matrix<float> through(const BlockWeights& changed) {
    Matrix<float> X = original_;
    forward(changed, X);
    return X;
  }

  int64_t length() const { return length_; }

 private:
  static MatrixView<const float> part(const Matrix<float>& X, int64_t row, int64_t rows) {
    return X.view().block(row, 0, rows, X.cols());
  }
  void forward(const BlockWeights& weights, Matrix<float>& X) {
    forward_block(pool_, config_, rope_, weights, length_, X);
  }

  const Context& context_;
  ThreadPool& pool_;
  const ModelConfig& config_;
  const WeightSource& source_;
  int64_t length_;
  RopeTable rope_;
  OutputHead head_;
  Matrix<float> original_, last_;  // the judged windows: before the next block, after the last
};

}  // namespace

std::vector<LayerSensitivity> measure_sensitivities(const Context& context,
                                                    const ModelConfig& config,
                                                    const WeightSource& source,
                                                    std::span<const std::vector<int32_t>> windows,
                                                    const std::vector<std::vector<LayerPlan>>& plan,
                                                    const OutputGradients* gradients, double bits) {
  ThreadPool& pool = context.pool();
  SensitivityMeter meter(context, config, source, windows);
  Streams streams(context, config, static_cast<int64_t>(windows.size()), meter.length(),
                  embed_by(config, source, windows), false);
  std::vector<LayerSensitivity> out;
  for (int64_t block = 0; block < config.blocks; ++block) {
    const BlockWeights weights = load_block(pool, config, source, block);
    streams.begin_block(weights);
    OutputMetrics metrics;
    if (gradients != nullptr) metrics = gradients->metrics(context.pool(), block);
    std::vector<Variant> variants;
    for (const Capture stage : kStages) {
      const StageStatistics statistics = streams.statistics(stage, {});
      for (const LayerPlan& layer : plan[static_cast<size_t>(block)]) {
        if (layer.site.input != stage || layer.fixed) continue;
        LayerSensitivity measured{.name = layer.site.name, .weights = layer.weights()};
        measured.kl_bits.resize(2);
        BlockWeights changed = weights;
        for (int rate = 0; rate < 2; ++rate) {
          context.check();
          QuantizerOptions options = layer.options;
          options.bits = std::clamp(bits + (rate == 0 ? -0.25 : 0.75), 0.5, 8.0);
          measured.bits.push_back(options.bits);
          changed.linear[layer.site.linear].weight =
              draft_layer(pool,
                          {.W = weights.linear[layer.site.linear].weight,
                           .S = statistics.plain.S,
                           .output_metric = metrics[layer.site.linear]},
                          options)
                  .V;
          variants.push_back({.layer = out.size(), .rate = rate, .X = meter.through(changed)});
        }
        out.push_back(std::move(measured));
      }
    }
    streams.end_block();
    meter.judge(weights, variants, out);
    context.tell("sensitivity", "blocks", block + 1, config.blocks);
  }
  return out;
}

double bounded_share(double share, double bits, double floor) {
  return std::clamp(share, std::max(floor, kLeastPart * bits), bits + kMostExtra);
}

void settle_level(double budget, const std::function<double(double)>& spent) {
  double low = -200, high = 200;  // most bits, fewest bits
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (spent(middle) > budget ? low : high) = middle;
  }
  spent(high);
}

void share_by_sensitivity(std::span<LayerSensitivity> layers, double bits,
                          std::span<const double> floors) {
  double weights = 0;
  for (LayerSensitivity& layer : layers) {
    weights += static_cast<double>(layer.weights);
    const double ratio = std::max(layer.kl_bits[0], 1e-12) / std::max(layer.kl_bits[1], 1e-12);
    layer.slope =
        std::clamp(std::log2(ratio) / (layer.bits[1] - layer.bits[0]), kLeastSlope, kMostSlope);
  }
  // log2 theta, theta = beta_l KL_l / N_l.
  const auto spent = [&](double log_theta) {
    double sum = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      LayerSensitivity& layer = layers[l];
      const double middle = (layer.bits[0] + layer.bits[1]) / 2,
                   kl = std::sqrt(std::max(layer.kl_bits[0], 1e-12) *
                                  std::max(layer.kl_bits[1], 1e-12)),
                   each = layer.slope * kl / static_cast<double>(layer.weights);
      layer.share =
          bounded_share(middle + (std::log2(each) - log_theta) / layer.slope, bits, floors[l]);
      sum += layer.share * static_cast<double>(layer.weights);
    }
    return sum;
  };
  settle_level(bits * weights, spent);
}

}  // namespace watersic
