#include "pipeline/basis_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

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

}  // namespace

SavedBasis settle_basis(const Context& context, const ModelConfig& config,
                        const WeightSource& source, std::span<const std::vector<int32_t>> windows,
                        Basis basis, std::optional<double> bits) {
  if (basis == Basis::kNative) return {};
  ThreadPool& pool = context.pool();
  auto [rotation, variances] = principal_axes(context, config, source, windows);
  SavedBasis out{.rotation = std::move(rotation), .axes = {}};
  Matrix<float>& stream = out.rotation.stream;
  if (basis == Basis::kHeads) {
    stream = {};
  } else if (config.tied_embeddings) {
    out.axes = encode_axes(pool, stream, variances);
    stream = decode_axes(pool, out.axes);
  }
  if (!bits) return out;
  ModelBasis turned(pool, config, source);
  turned.turn(out);
  double weights = 0;
  for (const LinearSite& site : linear_sites(config, 0))
    weights += static_cast<double>(site.rows * site.cols * config.blocks);
  const double gain = basis_cost(context, config, source, windows, *bits) -
                      basis_cost(context, turned.config(), turned.weights(), windows, *bits) -
                      8 * static_cast<double>(out.axes.size()) / weights;
  context.tell("basis", "", 1, 1,
               fmt::format("basis: {} saves {:.3f} bits a weight", name_of(basis), gain));
  if (gain <= 0) return {};
  return out;
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

double basis_cost(const Context& context, const ModelConfig& config, const WeightSource& source,
                  std::span<const std::vector<int32_t>> windows, double bits) {
  ThreadPool& pool = context.pool();
  const auto length = static_cast<int64_t>(windows.front().size());
  windows = windows.first(
      std::min(windows.size(), std::max<size_t>(1, static_cast<size_t>(kChoiceTokens / length))));
  Streams streams(context, config, static_cast<int64_t>(windows.size()), length,
                  embed_by(config, source, windows), false);
  double cost = 0, weights = 0;
  for (int64_t block = 0; block < config.blocks; ++block) {
    streams.begin_block(load_block(pool, config, source, block));
    for (const Capture stage : kStages) {
      StageStatistics statistics = streams.statistics(stage, {});
      statistics.shrink();
      const std::vector<double> pivots = column_weights(pool, statistics.plain.S);
      for (const LinearSite& site : linear_sites(config, block)) {
        if (site.input != stage) continue;
        const Matrix<float>& W = streams.original().linear[site.linear].weight;
        Energies parts = energies(W);
        const double mean = mean_square(W);
        if (!(mean > 0)) continue;
        for (size_t j = 0; j < pivots.size(); ++j) parts.columns[j] *= pivots[j] / mean;
        const auto size = static_cast<double>(W.size());
        cost += size * waterfilling_cost(thinned(std::move(parts.rows), kRowParts),
                                         thinned(std::move(parts.columns), kRowParts), bits);
        weights += size;
      }
    }
    streams.end_block();
  }
  return weights > 0 ? cost / weights : 0;
}

}  // namespace watersic
