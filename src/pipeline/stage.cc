#include "pipeline/stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>

#include "linalg/blas.h"
#include "pipeline/mixing.h"
#include "pipeline/quantized_matrix.h"
#include "pipeline/sharing.h"
#include "quant/layer.h"
#include "quant/limit.h"
#include "quant/means.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// Candidates of the mixing coefficients are judged on so many tokens at most.
constexpr int64_t kMixingTokens = 8192;

Matrix<double> identity(int64_t n) {
  Matrix<double> I(n, n);
  for (int64_t i = 0; i < n; ++i) I(i, i) = 1;
  return I;
}

// For each layer a rank: the largest first, each to the rank that has least to do.
std::vector<int> shared_out(const std::vector<LayerPlan>& layers, int ranks) {
  const auto cost = [&](size_t i) { return layers[i].keep ? 0 : layers[i].weights(); };
  std::vector<size_t> order(layers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(), cost);
  std::vector<int> owners(layers.size());
  std::vector<int64_t> work(static_cast<size_t>(ranks));
  for (const size_t i : order) {
    const auto least = std::ranges::min_element(work);
    owners[i] = static_cast<int>(least - work.begin());
    *least += cost(i);
  }
  return owners;
}

bool is_ours(const LayerPlan& layer) { return knows_model(layer.options.method); }

}  // namespace

void check_budget(ThreadPool& pool, const std::vector<std::vector<LayerPlan>>& plan,
                  const RateBudget& budget) {
  LeastBits least(pool);
  for (const auto& block : plan) {
    for (const LayerPlan& layer : block) {
      const double bits = layer.fixed ? layer.options.bits : budget.average();
      const double needed = least(layer, bits);
      if (bits < needed) {
        throw Error(fmt::format(
            "bits: {:.3f} a weight can't be met: {} ({} x {}) needs {:.3f} for its side "
            "information alone",
            bits, layer.site.name, layer.site.rows, layer.site.cols, needed));
      }
    }
  }
}

double LeastBits::operator()(const LayerPlan& layer, double bits) {
  const Method method = layer.options.method;
  if (layer.keep || is_grid(method)) return 0;
  QuantizerOptions options = layer.options;
  if (!layer.fixed) options.bits = std::clamp(bits, 0.05, 16.0);
  const std::tuple key{layer.site.rows,   layer.site.cols,          static_cast<int>(method),
                       options.rescalers, settled(options).trellis, options.bits};
  if (!known_.contains(key))
    known_[key] = minimum_bits(pool_, layer.site.rows, layer.site.cols, options, stored_size);
  return known_[key];
}

void StageQuantizer::gather(Capture stage, const std::vector<LayerPlan>& layers) {
  watch_.stage("statistics");
  if (streams_ == nullptr) {
    statistics_.plain.S = identity(layers.front().site.cols);
    return;
  }
  const bool watersic = std::any_of(layers.begin(), layers.end(), is_ours);
  const bool rivals = !std::all_of(layers.begin(), layers.end(), is_ours);
  const ModelOptions& model = options_.model;
  const bool attention = watersic && *model.attention_weighting && stage == Capture::kQkv;
  std::span<const float> tokens;
  if (watersic && *model.token_weighting)
    tokens = gradients_->token_weights(weights_.block)[static_cast<size_t>(stage)];
  statistics_ = streams_->statistics(
      stage,
      {.drift = watersic && *model.drift,
       .residual = watersic && *model.residual && (stage == Capture::kO || stage == Capture::kDown),
       .attention = attention,
       .tokens = tokens,
       .unweighted = rivals || (attention && *model.mixing) ? Unweighted::kAll : Unweighted::kS});
  if (!watersic) return;
  // The rivals' moments stay as they are.
  if (rivals && statistics_.weighted.empty()) statistics_.weighted = statistics_.plain;
  statistics_.shrink(pool_);
}

// Moments of the whole stage at these coefficients; valid until the next call.
const Moments& StageQuantizer::moments_at(double e_q, double e_a) {
  if (e_q == 0 && e_a == 0) return statistics_.used();
  mixed_ = mixed(statistics_, e_q, e_a);
  return mixed_;
}

LayerProblem StageQuantizer::problem(const LayerPlan& layer, const Moments& moments) {
  LayerProblem out{.W = weights_.linear[layer.site.linear].weight, .S = statistics_.plain.S};
  // LMMSE, where it is asked for, and the metric of the outputs don't go together.
  output_metric_ = {};
  if (is_ours(layer) && !settled(layer.options).lmmse && *options_.model.output_metric)
    output_metric_ = gradients_->metric(pool_, weights_.block, layer.site.linear);
  out.output_metric = output_metric_;
  out.heads = layer.site.heads;
  if (is_gptq(layer.options.method)) {
    // As the papers ran it: the moments of what it will see, the original weights as the target.
    if (!statistics_.plain.S_quantized.empty()) out.S_quantized = statistics_.plain.S_quantized;
  } else if (is_ours(layer)) {
    out.S_quantized = moments.metric();
    out.drift = moments.drift;
    out.drift_contrast = moments.drift_contrast;
    out.lost = statistics_.lost;
    out.lost_contrast = statistics_.lost_contrast;
  }
  return out;
}

QuantizerOptions StageQuantizer::options_of(const LayerPlan& layer) const {
  QuantizerOptions out = layer.options;
  if (layer.fixed) return out;
  const double threshold = settled(out).dead_threshold;
  const bool looks = uses_statistics(out.method) && !out.rotate;
  const auto dead =
      looks ? static_cast<int64_t>(find_live(statistics_.plain.S, threshold).dead.size()) : 0;
  out.bits = budget_.rate(layer.weights(), dead * layer.site.rows, layer.offset);
  return out;
}

void StageQuantizer::search(Capture stage, const std::vector<LayerPlan>& layers) {
  const ModelOptions& model = options_.model;
  const bool wanted = stage == Capture::kQkv      ? *model.mixing
                      : stage == Capture::kGateUp ? model.mix_gate_up
                                                  : false;
  if (!wanted || streams_ == nullptr || !streams_->two()) return;
  watch_.stage("mixing");
  // Where x' = x, as in the first block, e_q has nothing to choose from.
  const bool search_q = statistics_.capture_error > 0,
             search_a = *model.attention_weighting && stage == Capture::kQkv;
  const int64_t points = (model.mixing_steps + 3) * ((search_q ? 1 : 0) + (search_a ? 1 : 0));
  std::vector<Draft> first(layers.size());
  int64_t tried = 0;
  mixing_ = search_mixing(search_q, search_a, model.mixing_steps, [&](double e_q, double e_a) {
    const Moments& moments = moments_at(e_q, e_a);
    for (size_t i = 0; i < layers.size(); ++i) {
      const LayerPlan& layer = layers[i];
      if (layer.keep) continue;
      Draft draft = draft_layer(pool_, problem(layer, moments), options_of(layer),
                                tried > 0 ? &first[i] : nullptr);
      streams_->quantized().linear[layer.site.linear].weight = std::move(draft.V);
      if (tried == 0) first[i] = std::move(draft);
    }
    ++tried;
    context_.tell("mixing", "points", tried, points);
    return streams_->next_input_error(stage, kMixingTokens);
  });
}

LayerReport StageQuantizer::kept(const LayerPlan& layer) const {
  LayerReport out{
      .name = layer.site.name,
      .rows = layer.site.rows,
      .cols = layer.site.cols,
      .target_bits = 16,
      .bits = {.file = 16, .coded = 16, .side = 0, .pooled_entropy = 16, .paper_rate = 16}};
  out.kept = true;
  out.capture_error = statistics_.capture_error;
  return out;
}

LayerReport StageQuantizer::quantized(const LayerPlan& layer, std::vector<std::byte>& bytes) {
  const auto start = std::chrono::steady_clock::now();
  const QuantizerOptions options = options_of(layer);
  const MatrixView<const float> W = weights_.linear[layer.site.linear].weight;
  QuantizedMatrix done =
      quantize_matrix(pool_, layer.site.name, problem(layer, moments_at(mixing_.e_q, mixing_.e_a)),
                      options, layer.fixed ? kRateTolerance : budget_.tolerance(layer.weights()));
  LayerReport out = std::move(done.report);
  out.capture_error = statistics_.capture_error;
  out.sensitivity = layer.sensitivity;
  out.mixing = mixing_;
  if (!eigenvalues_.empty()) set_limit(mean_square(W), out);
  bytes = std::move(done.bytes);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

// Of the distortion that was minimised: with a metric of the outputs the weighted one.
void StageQuantizer::set_limit(double variance, LayerReport& report) const {
  const Matrix<double>& metric = output_metric_;
  Limit limit;
  if (report.weighted_distortion > 0) {
    std::vector<double> outputs;
    if (metric.rows() == 1) {
      outputs.assign(metric.row(0).begin(), metric.row(0).end());
    } else if (metric.rows() <= QuantizeOptions::kLimitColumns) {
      outputs = symmetric_eigenvalues(metric);
    } else {
      return;
    }
    limit =
        rate_at_weighted_distortion(eigenvalues_, outputs, variance, report.weighted_distortion);
  } else {
    limit = rate_at_distortion(eigenvalues_, variance, report.distortion);
  }
  report.has_limit = true;
  report.limit_bits = limit.bits;
  report.gap = report.bits.coded - report.limit_bits;
}

// Features of down's input that carry a thousand times the median's energy: one of them can spoil
// the statistics of a whole block (WaterSIC, arXiv 2603.04956, appendix on Qwen3-8B).
std::vector<OutlierReport> StageQuantizer::outliers() const {
  constexpr double kRatio = 1e4;
  const Matrix<double>& S = statistics_.plain.S;
  std::vector<double> diagonal;
  for (int64_t j = 0; j < S.cols(); ++j) diagonal.push_back(S(j, j));
  std::vector<double> sorted = diagonal;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<int64_t>(sorted.size() / 2),
                   sorted.end());
  const double median = sorted[sorted.size() / 2];
  std::vector<OutlierReport> out;
  for (size_t j = 0; j < diagonal.size(); ++j)
    if (median > 0 && diagonal[j] > kRatio * median)
      out.push_back(
          {.block = weights_.block, .row = static_cast<int64_t>(j), .ratio = diagonal[j] / median});
  return out;
}

LayerReport StageQuantizer::finished(const LayerPlan& layer, std::vector<std::byte>& bytes) {
  if (layer.keep) return kept(layer);
  LayerReport report = quantized(layer, bytes);
  // As it will stand in the file.
  const auto weights = static_cast<double>(layer.weights());
  report.bits.file = 8 * static_cast<double>(stored_size(bytes.size())) / weights;
  report.bits.side = report.bits.file - report.bits.coded;
  return report;
}

FinishedStage StageQuantizer::run(Capture stage, const std::vector<LayerPlan>& layers) {
  gather(stage, layers);
  if (options_.limits && layers.front().site.cols <= QuantizeOptions::kLimitColumns) {
    watch_.stage("limits");
    eigenvalues_ = symmetric_eigenvalues(statistics_.plain.S);
  }
  search(stage, layers);
  watch_.stage("quantizing");
  FinishedStage out;
  if (stage == Capture::kDown && streams_ != nullptr) out.outliers = outliers();
  const Communicator& ranks = context_.ranks();
  const std::vector<int> owners = shared_out(layers, ranks.size());
  out.layers.resize(layers.size());
  out.tensors.resize(layers.size());
  // All from the budget as it stood before the stage: what one of them misses, the others need not
  // know.
  together(ranks, [&] {
    for (size_t i = 0; i < layers.size(); ++i) {
      context_.check_if_alone();
      if (owners[i] == ranks.rank()) out.layers[i] = finished(layers[i], out.tensors[i]);
    }
  });
  for (size_t i = 0; i < layers.size(); ++i) share(ranks, owners[i], out.layers[i], out.tensors[i]);
  return out;
}

}  // namespace watersic
