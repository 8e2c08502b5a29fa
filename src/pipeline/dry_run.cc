// What a run would do, before any of it: layers and their bits, the file's size, memory, and time
// from rates measured on this machine.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <string>

#include "calibration/stage_moments.h"
#include "checkpoint/open_checkpoint.h"
#include "container/common_texts.h"
#include "linalg/blas.h"
#include "model/config.h"
#include "pipeline/basis_choice.h"
#include "pipeline/budget.h"
#include "pipeline/embeddings.h"
#include "pipeline/gradient_shares.h"
#include "pipeline/memory_plan.h"
#include "pipeline/model_basis.h"
#include "pipeline/model_options.h"
#include "pipeline/output_gradients.h"
#include "pipeline/plan.h"
#include "pipeline/principal_axes.h"
#include "pipeline/streams.h"
#include "quant/layer.h"
#include "watersic/quantize.h"

namespace watersic {
namespace {

// Floating-point operations a second of a matrix product on all threads.
template <class T>
double product_rate(ThreadPool& pool) {
  constexpr int64_t kSize = 768;
  const Matrix<T> A(kSize, kSize), B(kSize, kSize);
  Matrix<T> C(kSize, kSize);
  double best = 0;
  for (int i = 0; i < 12; ++i) {  // the first while threads wake up
    const auto start = std::chrono::steady_clock::now();
    gemm(pool, Op::kNone, Op::kNone, T{1}, A, B, T{0}, C);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2 * std::pow(static_cast<double>(kSize), 3) / took.count());
  }
  return best;
}

struct Work {
  double narrow = 0, wide = 0;  // operations in float32 and float64
  double weights = 0;           // coded
};

// Of one block; docs/architecture.md, "What a run costs", counts the passes.
Work block_work(const std::vector<LayerPlan>& layers, const QuantizePlan& plan,
                const ModelOptions& model, const ModelConfig& config) {
  const auto tokens = static_cast<double>(plan.calibration_tokens);
  const double attention = 2 * tokens * static_cast<double>(plan.sequence_length) *
                           static_cast<double>(config.query_size());
  const bool two = *model.drift, attended = *model.attention_weighting,
             judged_tokens = *model.token_weighting;
  Work work;
  double points = 0;
  if (*model.mixing) points = (attended ? 2 : 1) * (model.mixing_steps + 3);
  // The original's gradients: forward, and backward with what the forward pass left out of memory.
  const bool gradient = *model.allocation == Allocation::kGradient, metric = *model.output_metric;
  const int64_t most = std::min<int64_t>(plan.calibration_tokens, OutputGradients::kTokens);
  const double judged = gradient || metric || judged_tokens ? static_cast<double>(most) : 0,
               shared = gradient ? static_cast<double>(std::min(most, sharing_tokens(config))) : 0;
  Capture seen = Capture::kDown;
  for (const LayerPlan& layer : layers) {
    const auto a = static_cast<double>(layer.site.rows), n = static_cast<double>(layer.site.cols);
    const Capture input = layer.site.input;
    const bool early = input == Capture::kQkv;
    // The original's forward pass; the quantized's.
    const double passes = two ? 2 : 1;
    if (tokens > 0) work.narrow += passes * 2 * a * n * tokens;
    if (early) work.narrow += points * 2 * a * n * std::min(tokens, 8192.0);
    work.narrow += judged * 6 * a * n;
    if (a <= static_cast<double>(OutputGradients::kMostRows)) {
      work.narrow += judged * a * a + ((gradient ? 1 : 0) + (metric ? 1 : 0)) * a * a * a / 3;
    }
    work.narrow += 2 * a * n * shared;
    if (gradient && tokens > 0 && input != seen) {
      work.narrow += n * n * shared;
      work.wide += n * n * n / 3;
    }
    if (tokens > 0 && input != seen) {
      // S' (or S), S of some tokens for reports, and the drift: of inputs, or of outputs with what
      // they would have been.
      const double some =
          std::min(tokens, static_cast<double>(tokens_of_S(layer.site.cols))) * (two ? 1 : 0);
      const bool of_outputs = input == Capture::kO || input == Capture::kDown;
      double moments = n * n * (tokens + some);
      if (two && of_outputs) {
        const auto outputs = static_cast<double>(config.hidden);
        moments += 2 * outputs * n * tokens;
        if (Streams::product_is_late(plan.calibration_tokens, layer.site.cols)) {
          work.wide += 4 * outputs * n * n;
        } else {
          moments += 2 * outputs * n * tokens;
        }
      } else if (two) {
        moments += 2 * n * n * tokens;
      }
      if (early && attended && *model.mixing) moments *= 2;
      work.narrow += moments;
      if (early) work.narrow += (two ? 3 : 2) * attention;
      seen = input;
    }
    if (layer.keep) continue;
    // The loop over all, once or twice, the target, the rescalers, the signal; the distortion and
    // two factors.
    const double drafts = early ? points : 0;
    const auto fitted = static_cast<double>(LayerQuantizer::rescaled_rows(layer.site.rows));
    work.narrow += ((11 + 11 * drafts) * a + 4 * fitted) * n * n;
    work.wide += a * n * n + (1 + drafts) * n * n * n * 2 / 3;
    if (metric && a <= static_cast<double>(OutputGradients::kMostRows))
      work.narrow += 2 * a * a * n;
    work.weights += a * n;
  }
  return work;
}

// As of a layer; but that most rows have only their own scale to find.
Work embedding_work(const EmbeddingPlan& matrix) {
  const auto a = static_cast<double>(matrix.rows), n = static_cast<double>(matrix.cols);
  const auto fitted = static_cast<double>(LayerQuantizer::rescaled_rows(matrix.rows));
  return {.narrow = (6 * a + 7 * fitted) * n * n, .wide = a * n * n + n * n * n, .weights = a * n};
}

// Two forward passes with the moments of the inputs where the basis is open, else one over more
// tokens; and the products that turn the weights each time that they are read.
void add_basis_work(const std::vector<LayerPlan>& layers, const QuantizePlan& plan,
                    const ModelConfig& config, Basis basis, bool open, Work& work) {
  constexpr double kReadings = 4;
  const auto tokens =
      static_cast<double>(open ? 2 * std::min(plan.calibration_tokens, kChoiceTokens)
                               : std::min(plan.calibration_tokens, kAxesTokens));
  const auto n = static_cast<double>(config.hidden);
  for (const LayerPlan& layer : layers) {
    const auto weights = static_cast<double>(layer.weights());
    work.narrow += 2 * weights * tokens;
    if (basis == Basis::kPrincipal) work.narrow += kReadings * 2 * weights * n;
  }
  work.narrow += 3 * n * n * tokens;
}

}  // namespace

QuantizePlan plan_quantization(const std::filesystem::path& model_dir,
                               const QuantizeOptions& options) {
  // Of one core: coding in several passes and the trellis, everything that goes weight by weight.
  constexpr double kWeightsPerSecond = 1.3e6;
  // Of the rate of a large product, what passes come to with attention, norms and sums.
  constexpr double kPassesRate = 0.7;
  const auto checkpoint = open_checkpoint(model_dir);
  const ModelConfig& config = checkpoint->config();
  ThreadPool pool(options.threads);
  const ModelOptions model = resolved_model_options(options);
  const auto layers = plan_layers(config, options);

  QuantizePlan plan;
  const CalibrationOptions& calibration = options.calibration;
  const bool calibrated = calibration.source != CalibrationOptions::Source::kNone;
  if (calibrated) {
    plan.sequence_length = calibration.sequence_length > 0
                               ? calibration.sequence_length
                               : std::min<int64_t>(2048, config.max_positions);
    plan.calibration_tokens = calibration.samples * plan.sequence_length;
  }
  int64_t fixed_weights = 0, largest_rows = 0, largest_cols = 0;
  double fixed_bits = 0;
  std::set<std::string> quantized;
  for (const auto& block : layers) {
    for (const LayerPlan& layer : block) {
      plan.quantized_weights += layer.weights();
      largest_rows = std::max(largest_rows, layer.site.rows);
      largest_cols = std::max(largest_cols, layer.site.cols);
      if (!layer.keep) quantized.insert(layer.site.name);
      if (!layer.fixed) continue;
      fixed_weights += layer.weights();
      fixed_bits += (layer.keep ? 16 : layer.options.bits) * static_cast<double>(layer.weights());
    }
  }
  // All that is not quantized, and what is at these rates.
  const auto others = [&](double bits_if_open) {
    QuantizeOptions resolved = options;
    resolve_embedding_bits(config, bits_if_open, resolved);
    return plan_embeddings(config, resolved);
  };
  const auto bytes_beside = [&](const std::vector<EmbeddingPlan>& matrices) {
    std::set<std::string> names = quantized;
    for (const EmbeddingPlan& matrix : matrices) names.insert(matrix.name);
    int64_t bytes = 0;
    for (const ModelTensor& tensor : model_tensors(config))
      if (!names.contains(tensor.name)) bytes += 2 * tensor.shape.rows * tensor.shape.cols;
    for (const char* name : kCarriedTexts)  // compressed to about a quarter
      if (const auto text = checkpoint->text(name)) bytes += static_cast<int64_t>(text->size() / 4);
    return bytes;
  };
  const auto coded_bytes = [](const std::vector<EmbeddingPlan>& matrices) {
    int64_t bytes = 0;
    for (const EmbeddingPlan& matrix : matrices)
      bytes +=
          static_cast<int64_t>(matrix.options.bits * static_cast<double>(matrix.weights()) / 8);
    return bytes;
  };
  SharedBits bits{.layers = options.bits, .if_open = open_embedding_bits(options, options.bits)};
  if (options.file_size > 0) {
    const int64_t left = options.file_size - bytes_beside(others(open_embedding_bits(options, 1))) -
                         coded_bytes(plan_embeddings(config, options));
    bits = bits_in_file(config, options, 8 * static_cast<double>(left), plan.quantized_weights);
  }
  plan.bits = bits.layers;
  const std::vector<EmbeddingPlan> embeddings = others(bits.if_open);
  const int64_t rest = bytes_beside(embeddings) + coded_bytes(embeddings);
  for (const EmbeddingPlan& matrix : embeddings)
    plan.embeddings.push_back({.name = matrix.name,
                               .rows = matrix.rows,
                               .cols = matrix.cols,
                               .bits = matrix.options.bits});
  const Basis basis = resolved_basis(config, options);
  fixed_bits += axes_bits(config, basis);
  const RateBudget budget(plan.bits, plan.quantized_weights, fixed_weights, fixed_bits);
  for (const auto& block : layers) {
    for (const LayerPlan& layer : block) {
      plan.layers.push_back({.name = layer.site.name,
                             .rows = layer.site.rows,
                             .cols = layer.site.cols,
                             .bits = layer.keep    ? 16
                                     : layer.fixed ? layer.options.bits
                                                   : budget.rate(layer.weights(), 0),
                             .kept = layer.keep});
      if (!layer.keep)
        plan.file_bytes += static_cast<int64_t>(plan.layers.back().bits *
                                                static_cast<double>(layer.weights()) / 8);
    }
  }
  plan.file_bytes += rest + static_cast<int64_t>(axes_bits(config, basis) / 8);

  const double narrow = kPassesRate * product_rate<float>(pool), wide = product_rate<double>(pool);
  double seconds = 0;
  for (const auto& block : layers) {
    Work work = block_work(block, plan, model, config);
    if (basis != Basis::kNative)
      add_basis_work(block, plan, config, basis, !options.model.basis, work);
    seconds += work.narrow / narrow + work.wide / wide +
               work.weights / (kWeightsPerSecond * pool.threads());
  }
  for (const EmbeddingPlan& matrix : embeddings) {
    const auto work = embedding_work(matrix);
    seconds += work.narrow / narrow + work.wide / wide +
               work.weights / (kWeightsPerSecond * pool.threads());
  }
  plan.seconds = seconds;

  plan.peak_bytes = plan_memory(config, layers, embeddings,
                                {.windows = calibrated ? calibration.samples : 0,
                                 .length = plan.sequence_length,
                                 .two = *model.drift,
                                 .gradients = takes_gradients(model),
                                 .metrics = *model.output_metric},
                                options.memory)
                        .peak_bytes;
  return plan;
}

}  // namespace watersic
