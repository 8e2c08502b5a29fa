#include "pipeline/gradient_shares.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

#include "base/strands.h"
#include "linalg/blas.h"
#include "model/forward.h"
#include "pipeline/block_work.h"
#include "pipeline/column_weights.h"
#include "pipeline/sensitivity.h"
#include "pipeline/streams.h"
#include "quant/layer.h"
#include "quant/means.h"

namespace watersic {
namespace {

// A layer is told by so many of its columns and rows, neighbours taken together.
constexpr size_t kParts = 128;

// Of a layer whose weights have that mean square.
LayerParts parts_of(ThreadPool& pool, double mean_square, std::vector<double> inputs,
                    const Matrix<double>& G, const LinearSite& site) {
  // 1/2 e^T G e nats.
  const double to_bits = mean_square / 2 / std::numbers::ln2;
  for (double& x : inputs) x *= to_bits;
  const OutputFactor factor = factor_outputs(pool, G, output_group_rows(site.rows),
                                             strand_order(site.rows, site.heads), false);
  std::vector<double> outputs;
  outputs.reserve(factor.root.size());
  for (const double root : factor.root)
    outputs.push_back(root * root * factor.scale * factor.scale);
  return {.inputs = thinned(std::move(inputs), kParts),
          .outputs = thinned(std::move(outputs), kParts)};
}

std::vector<double> logs_of(std::span<const double> values) {
  std::vector<double> out;
  out.reserve(values.size());
  for (const double x : values) out.push_back(std::log2(std::max(x, 1e-300)));
  return out;
}

}  // namespace

void fill_water(std::span<const LayerParts> parts, double bits, std::span<const double> floors,
                std::span<LayerSensitivity> layers, size_t counted) {
  if (counted == 0) counted = layers.size();
  double weights = 0;
  for (size_t l = 0; l < counted; ++l) weights += static_cast<double>(layers[l].weights);
  std::vector<std::vector<double>> inputs, outputs;  // log2
  for (const LayerParts& of : parts) {
    inputs.push_back(logs_of(of.inputs));
    outputs.push_back(logs_of(of.outputs));
  }
  // A layer's own log2 theta.
  const auto own = [&](size_t l, double log_level) {
    return log_level + std::log2(LayerParts::kLayerSlope / parts[l].slope);
  };
  const auto count = [&](size_t l) {
    return static_cast<double>(parts[l].inputs.size() * parts[l].outputs.size());
  };
  double settled = 0;
  const auto spent = [&](double log_level) {
    settled = log_level;
    double sum = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      const double level = own(l, log_level);
      double above = 0;
      for (const double x : inputs[l])
        for (const double y : outputs[l]) above += std::max(0.0, x + y - level);
      LayerSensitivity& layer = layers[l];
      layer.slope = parts[l].slope;
      layer.share = bounded_share(above / layer.slope / count(l), bits, floors[l]);
      layer.bits = {layer.share};
      if (l < counted) sum += layer.share * static_cast<double>(layer.weights);
    }
    return sum;
  };
  settle_level(bits * weights, spent);
  for (size_t l = 0; l < layers.size(); ++l) {
    const double level = std::exp2(own(l, settled));
    double kl = 0;
    for (const double x : parts[l].inputs)
      for (const double y : parts[l].outputs) kl += std::min(x * y, level);
    layers[l].kl_bits = {kl / count(l) * static_cast<double>(layers[l].weights)};
  }
}

LayerParts parts_of_rows(ThreadPool& pool, double mean_square, const Matrix<double>& S,
                         const Matrix<double>& row_weights, bool both) {
  LayerParts out{.inputs = column_weights(pool, S),
                 .outputs = {row_weights.row(0).begin(), row_weights.row(0).end()}};
  // The embedding's row weights hold the mean of S already: docs/algorithm.md, "Embeddings and
  // head".
  const double scale = mean_square / 2 / std::numbers::ln2 / (both ? mean_diagonal(S) : 1);
  for (double& x : out.inputs) x *= scale;
  return {.inputs = thinned(std::move(out.inputs), kParts),
          .outputs = thinned(std::move(out.outputs), 8 * kParts),
          .slope = LayerParts::kRowsSlope};
}

int64_t sharing_tokens(const ModelConfig& config) {
  return std::max<int64_t>(4096, 3 * std::max(config.intermediate, config.query_size()));
}

std::vector<LayerSensitivity> share_by_gradients(const Context& context, const ModelConfig& config,
                                                 const WeightSource& source,
                                                 std::span<const std::vector<int32_t>> windows,
                                                 const std::vector<std::vector<LayerPlan>>& plan,
                                                 const OutputGradients& gradients, bool weighted,
                                                 const Sharing& sharing) {
  ThreadPool& pool = context.pool();
  const auto length = static_cast<int64_t>(windows.front().size());
  const int64_t tokens = std::min(gradients.tokens(), sharing_tokens(config));
  const auto some = windows.first(static_cast<size_t>(std::max<int64_t>(1, tokens / length)));
  Streams streams(context, config, static_cast<int64_t>(some.size()), length,
                  embed_by(config, source, some), false);
  std::vector<LayerSensitivity> out;
  std::vector<LayerParts> parts;
  const Communicator& ranks = context.ranks();
  std::vector<int> owners;  // of each layer
  BlockWork work(ranks, config.blocks);
  for (int64_t block = 0; block < config.blocks; ++block) {
    streams.begin_block(load_block(pool, config, source, block));
    const TokenWeights& weights = gradients.token_weights(block);
    for (const Capture stage : kStages) {
      const auto statistics = std::make_shared<StageStatistics>(streams.statistics(
          stage,
          {.tokens = weighted ? weights[static_cast<size_t>(stage)] : std::span<const float>(),
           .unweighted = Unweighted::kNone}));
      const size_t first = parts.size();
      std::vector<LinearSite> sites;
      std::vector<double> mean_squares;
      for (const LayerPlan& layer : plan[static_cast<size_t>(block)]) {
        if (layer.site.input != stage || layer.fixed) continue;
        sites.push_back(layer.site);
        mean_squares.push_back(
            work.is_own(block) ? mean_square(streams.original().linear[layer.site.linear].weight)
                               : 0);
        owners.push_back(work.owner(block));
        out.push_back({.name = layer.site.name, .weights = layer.weights()});
      }
      parts.resize(first + sites.size());
      if (sites.empty() || !work.is_own(block)) continue;
      statistics->shrink(pool);
      work.add([&, statistics, block, first, sites, mean_squares] {
        const std::vector<double> inputs = column_weights(pool, statistics->used().metric());
        *statistics = {};
        for (size_t i = 0; i < sites.size(); ++i) {
          context.check_if_alone();
          parts[first + i] = parts_of(pool, mean_squares[i], inputs,
                                      gradients.metric(pool, block, sites[i].linear), sites[i]);
        }
      });
    }
    streams.end_block();
    work.end(block);
    context.tell("sensitivity", "blocks", block + 1, config.blocks);
  }
  const size_t layers = out.size();
  for (size_t layer = 0; layer < layers; ++layer) {
    share(ranks, owners[layer], parts[layer].inputs);
    share(ranks, owners[layer], parts[layer].outputs);
  }
  std::vector<double> floors(sharing.floors.begin(), sharing.floors.end());
  for (const OpenMatrix& matrix : sharing.open) {
    out.push_back({.name = matrix.name, .weights = matrix.weights});
    parts.push_back(matrix.parts);
    floors.push_back(matrix.floor);
  }
  fill_water(parts, sharing.bits, floors, out, sharing.counted ? out.size() : layers);
  return out;
}

}  // namespace watersic
