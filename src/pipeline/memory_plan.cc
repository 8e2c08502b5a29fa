#include "pipeline/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "calibration/token_batches.h"
#include "model/model_backward.h"
#include "pipeline/output_gradients.h"
#include "quant/layer.h"
#include "quant/slabs.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// Bytes a weight of the layer at hand: the target, the integers, what each row was aimed at. Of the
// rows whose scales are fitted at a time: the target, its moments, the integers, the values.
constexpr int64_t kLayer = 12, kFitted = 16;
// Bytes for each pair of inputs: S, the factor in float64 and in float32 (or the factor, S and what
// the columns' scales are fitted with, in float32); with two models S' and, but for o and down, the
// drift and its contrast.
constexpr int64_t kMoments = 20, kSecond = 8, kDrift = 8;
// Bytes for each pair of outputs: their metric, its factor, what a group makes good.
constexpr int64_t kMetric = 16;
constexpr int64_t kProgram = int64_t{150} << 20;

struct Peak {
  int64_t bytes = 0;
  std::string at;
};

// What stands beside the layers of a block as each is quantized: its weights as long as they are
// needed, and the moments.
Peak block_peak(const std::vector<LayerPlan>& layers, const Passes& passes) {
  const int64_t models = passes.two ? 2 : 1;
  Peak peak;
  for (const LayerPlan& layer : layers) {
    const Capture input = layer.site.input;
    const bool of_outputs = input == Capture::kO || input == Capture::kDown;
    const int64_t n = layer.site.cols, a = layer.site.rows, weights = layer.weights();
    int64_t held = 0;
    for (const LayerPlan& other : layers)
      if (other.site.input >= input) held += other.weights();
    // First the columns' scales are fitted, then the other rows'.
    const int64_t fitted = std::max(kFitted * LayerQuantizer::rescaled_rows(a) * n,
                                    kFitted * std::min(a, kWideRows) * n - 4 * n * n);
    int64_t bytes = models * held * 4 + kLayer * weights + fitted + kMoments * n * n;
    if (passes.two) bytes += kSecond * n * n + (of_outputs ? 8 * weights : kDrift * n * n);
    if (passes.metrics && a <= OutputGradients::kMostRows) bytes += kMetric * a * a;
    if (bytes > peak.bytes) peak = {bytes, layer.site.name};
  }
  return peak;
}

// Its weights, as a target too if it has one, the integers, what they are coded to, twice; and what
// a slab of it takes.
int64_t embedding_bytes(const EmbeddingPlan& matrix, bool two) {
  const int64_t weight = matrix.is_head() && two ? 12 : 8;
  const int64_t slab = std::min(matrix.rows, slab_rows(matrix.rows)) * matrix.cols;
  return matrix.weights() * (weight + 2) + slab * 12 + 6 * matrix.cols * matrix.cols * 8;
}

// Of the passes for the gradients the head's or a block's, whichever is more, and the stream of a
// rank's own windows.
int64_t gradient_bytes(const ModelConfig& config, const std::vector<LayerPlan>& block,
                       const Passes& passes, int64_t own_windows, int64_t batch_of) {
  const int64_t stream =
      std::min(own_windows * passes.length, OutputGradients::kTokens) * config.hidden * 4;
  // In float32, beside the mapped one; some tokens' probabilities.
  const int64_t head = config.vocabulary * (6 * config.hidden + 4 * kLossRows);
  if (!passes.gradients) return head + stream;
  // The weights, two halves of each metric, what tokens of a batch leave behind.
  const int64_t tokens = std::min(own_windows, batch_of) * passes.length;
  int64_t bytes = 4 * tokens * (4 * config.intermediate + 10 * config.hidden);
  for (const LayerPlan& layer : block) {
    const int64_t a = layer.site.rows;
    bytes += 4 * layer.weights();
    if (a <= OutputGradients::kMostRows) bytes += 8 * a * a;
  }
  return std::max(head, bytes) + stream;
}

std::string gib(int64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0));
}

}  // namespace

MemoryPlan plan_memory(const ModelConfig& config, const std::vector<std::vector<LayerPlan>>& layers,
                       const std::vector<EmbeddingPlan>& embeddings, const Passes& passes,
                       int64_t most) {
  const int64_t windows = passes.windows, length = passes.length, models = passes.two ? 2 : 1;
  Peak peak;
  for (const auto& block : layers)
    if (Peak found = block_peak(block, passes); found.bytes > peak.bytes) peak = std::move(found);
  peak.bytes += 2 * config.vocabulary * config.hidden;
  for (const EmbeddingPlan& matrix : embeddings)
    if (const int64_t bytes = embedding_bytes(matrix, passes.two); bytes > peak.bytes)
      peak = {bytes, matrix.name};
  const int64_t batch = length > 0 ? batch_windows(length) : 1, round = batch * passes.ranks;
  const int64_t own = std::min(windows, (windows + round - 1) / round * batch);
  const int64_t gradients = length > 0 && (passes.gradients || !embeddings.empty())
                                ? gradient_bytes(config, layers.front(), passes, own, batch)
                                : 0;
  // With the streams of so many windows in memory.
  const auto all = [&](int64_t of) {
    const int64_t bytes = peak.bytes + models * of * length * config.hidden * 4;
    return bytes >= gradients ? MemoryPlan{.peak_bytes = bytes + kProgram, .at = peak.at}
                              : MemoryPlan{.peak_bytes = gradients + kProgram, .at = "gradients"};
  };
  MemoryPlan out = all(own);
  if (most == 0 || out.peak_bytes <= most) return out;
  out = all(std::min(own, batch));
  out.streams_in_file = true;
  if (out.peak_bytes > most)
    throw Error(fmt::format("memory: {} may be taken, and {} {} {}", gib(most), out.at,
                            out.at == "gradients" ? "take" : "takes", gib(out.peak_bytes)));
  return out;
}

}  // namespace watersic
