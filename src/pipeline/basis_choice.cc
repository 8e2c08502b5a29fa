#include "pipeline/basis_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <utility>

#include "pipeline/block_work.h"
#include "pipeline/column_weights.h"
#include "pipeline/plan.h"
#include "pipeline/principal_axes.h"
#include "pipeline/streams.h"
#include "quant/means.h"

namespace watersic {
namespace {

constexpr size_t kRowParts = 128;  // and so many of the columns, of a layer

// Mean squares of the rows and of the columns of W.
struct Energies {
  std::vector<double> rows, columns;
};
Energies energies(MatrixView<const float> W) {
  Energies out;
  out.rows.resize(static_cast<size_t>(W.rows()));
  out.columns.resize(static_cast<size_t>(W.cols()));
  for (int64_t k = 0; k < W.rows(); ++k) {
    for (int64_t j = 0; j < W.cols(); ++j) {
      const double square = static_cast<double>(W(k, j)) * W(k, j);
      out.rows[static_cast<size_t>(k)] += square / static_cast<double>(W.cols());
      out.columns[static_cast<size_t>(j)] += square / static_cast<double>(W.rows());
    }
  }
  return out;
}

// The inputs of a stage's layers in turned coordinates are Q x. Empty where they are the same.
Matrix<float> turn_of(Capture stage, const ModelConfig& config, const Block& block,
                      const Rotation& rotation) {
  Matrix<float> Q;
  if (stage == Capture::kO) {
    const int64_t d = config.head_dim, sharing = config.heads / config.kv_heads;
    const auto& axes = rotation.heads[static_cast<size_t>(block.block)];
    Q = Matrix<float>(config.query_size(), config.query_size());
    for (int64_t head = 0; head < config.heads; ++head)
      for (int64_t i = 0; i < d; ++i)
        for (int64_t j = 0; j < d; ++j)
          Q(head * d + j, head * d + i) = axes[static_cast<size_t>(head / sharing)](i, j);
  } else if (stage != Capture::kDown && !rotation.stream.empty()) {
    // The layers take over what the norm multiplies with.
    const auto& gain = stage == Capture::kQkv ? block.attention_norm : block.mlp_norm;
    Q = Matrix<float>(config.hidden, config.hidden);
    for (int64_t i = 0; i < Q.cols(); ++i)
      if (const float g = gain[static_cast<size_t>(i)]; g != 0)
        for (int64_t j = 0; j < Q.rows(); ++j) Q(j, i) = rotation.stream(i, j) / g;
  }
  return Q;
}

// What errors in the columns weigh, what is chance left out.
std::vector<double> pivots_of(ThreadPool& pool, StageStatistics statistics) {
  statistics.shrink(pool);
  return column_weights(pool, statistics.plain.S);
}

// waterfilling_cost of a layer's entries, times how many they are.
double layer_cost(MatrixView<const float> W, std::span<const double> pivots, double bits) {
  Energies parts = energies(W);
  const double mean = mean_square(W);
  if (!(mean > 0)) return 0;
  for (size_t j = 0; j < pivots.size(); ++j) parts.columns[j] *= pivots[j] / mean;
  return static_cast<double>(W.size()) *
         waterfilling_cost(thinned(std::move(parts.rows), kRowParts),
                           thinned(std::move(parts.columns), kRowParts), bits);
}

// What turning saves in the layers of a stage of a block.
double stage_gain(ThreadPool& pool, StageStatistics statistics, int64_t block,
                  const Rotation& rotation, const ModelConfig& config, const WeightSource& source,
                  const ModelBasis& other, Capture stage, double bits) {
  BlockWeights norms;
  norms.block = block;
  load_norms(config, source, norms);
  const Matrix<float> Q = turn_of(stage, config, norms, rotation);
  std::vector<double> turned_pivots;
  if (!Q.empty()) {
    const Moments& plain = statistics.plain;
    StageStatistics there;
    there.plain.S = turned(pool, Q, plain.S);
    if (!plain.metric_contrast.empty())
      there.plain.metric_contrast = turned(pool, Q, plain.metric_contrast);
    turned_pivots = pivots_of(pool, std::move(there));
  }
  const std::vector<double> pivots = pivots_of(pool, std::move(statistics));
  if (Q.empty()) turned_pivots = pivots;
  double gain = 0;
  for (const LinearSite& site : linear_sites(config, block)) {
    if (site.input != stage) continue;
    gain += layer_cost(source.matrix(site.name), pivots, bits) -
            layer_cost(other.weights().matrix(site.name), turned_pivots, bits);
  }
  return gain;
}

}  // namespace

SavedBasis settle_basis(const Context& context, const ModelConfig& config,
                        const WeightSource& source, std::span<const std::vector<int32_t>> windows,
                        Basis basis, std::optional<double> bits) {
  if (basis == Basis::kNative) return {};
  ThreadPool& pool = context.pool();
  const auto basis_of = [&](std::span<const std::vector<int32_t>> some) {
    auto [rotation, variances] = principal_axes(context, config, source, some);
    SavedBasis out{.rotation = std::move(rotation), .axes = {}};
    Matrix<float>& stream = out.rotation.stream;
    if (basis == Basis::kHeads) {
      stream = {};
    } else if (config.tied_embeddings) {
      out.axes = encode_axes(pool, stream, variances);
      stream = decode_axes(pool, out.axes);
    }
    return out;
  };
  if (!bits) return basis_of(windows);
  // On few tokens first.
  const auto length = static_cast<int64_t>(windows.front().size());
  const auto few = windows.first(
      std::min(windows.size(), std::max<size_t>(1, static_cast<size_t>(kChoiceTokens / length))));
  SavedBasis out = basis_of(few);
  double weights = 0;
  for (const LinearSite& site : linear_sites(config, 0))
    weights += static_cast<double>(site.rows * site.cols * config.blocks);
  const double gain = basis_gain(context, config, source, few, out, *bits) -
                      8 * static_cast<double>(out.axes.size()) / weights;
  context.tell("basis", "", 1, 1,
               fmt::format("basis: {} saves {:.3f} bits a weight", name_of(basis), gain));
  if (gain <= 0) return {};
  return few.size() < windows.size() ? basis_of(windows) : std::move(out);
}

double waterfilling_cost(std::span<const double> rows, std::span<const double> columns,
                         double bits) {
  std::vector<double> logs;  // log2 of the entries
  for (const double r : rows)
    for (const double c : columns) logs.push_back(std::log2(std::max(r * c, 1e-300)));
  const auto count = static_cast<double>(logs.size());
  // The water level, by what it spends.
  double low = -1000, high = *std::ranges::max_element(logs);
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    double spent = 0;
    for (const double x : logs) spent += std::max(0.0, x - middle) / 2;
    (spent > bits * count ? low : high) = middle;
  }
  double error = 0;
  for (const double x : logs) error += std::exp2(std::min(x, high)) / count;
  return std::log2(std::max(error, 1e-300)) / 2;
}

double basis_gain(const Context& context, const ModelConfig& config, const WeightSource& source,
                  std::span<const std::vector<int32_t>> windows, const SavedBasis& basis,
                  double bits) {
  ThreadPool& pool = context.pool();
  ModelBasis other(pool, config, source);
  other.turn(basis);
  Streams streams(context, config, static_cast<int64_t>(windows.size()),
                  static_cast<int64_t>(windows.front().size()), embed_by(config, source, windows),
                  false);
  // Of each stage of each block, by the rank whose it is.
  std::vector<double> gains(static_cast<size_t>(config.blocks) * std::size(kStages));
  double weights = 0;
  BlockWork work(context.ranks(), config.blocks);
  for (int64_t block = 0; block < config.blocks; ++block) {
    streams.begin_block(load_block(pool, config, source, block));
    for (const Capture stage : kStages) {
      const auto statistics = std::make_shared<StageStatistics>(streams.statistics(stage, {}));
      double& stages_gain =
          gains[static_cast<size_t>(block) * std::size(kStages) + static_cast<size_t>(stage)];
      if (work.is_own(block)) {
        if (stage == Capture::kDown) statistics->shrink(pool);  // it is not turned
        work.add([&, statistics, block, stage] {
          stages_gain = stage_gain(pool, std::move(*statistics), block, basis.rotation, config,
                                   source, other, stage, bits);
        });
      }
      for (const LinearSite& site : linear_sites(config, block))
        if (site.input == stage) weights += static_cast<double>(site.rows * site.cols);
    }
    streams.end_block();
    work.end(block);
  }
  context.ranks().merge(gains);
  double gain = 0;
  for (const double x : gains) gain += x;
  return weights > 0 ? gain / weights : 0;
}

}  // namespace watersic
