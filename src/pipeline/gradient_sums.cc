#include "pipeline/gradient_sums.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "calibration/chance.h"
#include "linalg/blas.h"
#include "model/operators.h"

namespace watersic {
namespace {

double energy(std::span<const float> g) {
  double sums[4] = {};  // so that the additions need not wait for each other
  for (size_t i = 0; i < g.size(); ++i)
    sums[i % 4] += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

GradientSums::GradientSums(int64_t tokens, int64_t outputs)
    : outputs_(outputs), energies_(static_cast<size_t>(tokens)) {}

bool GradientSums::is_diagonal() const { return outputs_ > OutputGradients::kMostRows; }

void GradientSums::look(ThreadPool& pool, int64_t row, MatrixView<const float> g) {
  by_rows(pool, g.rows(),
          [&](int64_t i) { energies_[static_cast<size_t>(row + i)] = energy(g.row(i)); });
}

void GradientSums::add(ThreadPool& pool, const Halves& halves, Half batch,
                       MatrixView<const float> g) {
  for (int h = 0; h < 2; ++h) {
    const auto [row, rows] = rows_in(h, batch, g.rows());
    if (rows == 0 || !halves.has(h)) continue;
    if (!is_diagonal()) {
      Matrix<float>& gram = grams_[static_cast<size_t>(h)];
      if (gram.empty()) gram = Matrix<float>(outputs_, outputs_);
      add_gram(pool, g.block(row, 0, rows, outputs_), gram.view(), halves.share());
      continue;
    }
    std::vector<double>& diagonal = diagonals_[static_cast<size_t>(h)];
    diagonal.resize(static_cast<size_t>(outputs_));
    for (int64_t i = row; i < row + rows; ++i)
      for (int64_t k = 0; k < outputs_; ++k)
        diagonal[static_cast<size_t>(k)] += static_cast<double>(g(i, k)) * g(i, k);
  }
}

void GradientSums::gather(const Halves& halves) {
  halves.ranks().merge(energies_);
  for (int h = 0; h < 2; ++h) {
    const auto at = static_cast<size_t>(h);
    if (is_diagonal()) {
      diagonals_[at].resize(static_cast<size_t>(outputs_));
      halves.gather(h, diagonals_[at]);
    } else {
      halves.gather_gram(h, grams_[at]);
      if (grams_[at].empty()) grams_[at] = Matrix<float>(outputs_, outputs_);
    }
  }
}

std::vector<float> GradientSums::take_metric(ThreadPool& pool) {
  const double factor = 1 / static_cast<double>(energies_.size());
  std::vector<float> out;
  if (is_diagonal()) {
    for (size_t k = 0; k < diagonals_[0].size(); ++k)
      out.push_back(static_cast<float>(factor * (diagonals_[0][k] + diagonals_[1][k])));
    return out;
  }
  Matrix<float>&G = grams_[0], &contrast = grams_[1];
  pool.parallel_for(G.rows(), [&](int64_t i) {
    for (int64_t j = 0; j < G.cols(); ++j) {
      const float first = G(i, j), second = contrast(i, j);
      G(i, j) = first + second;
      contrast(i, j) = first - second;
    }
  });
  shrink_correlations(pool, contrast, G);
  out.resize(static_cast<size_t>(G.rows() * (G.rows() + 1) / 2));
  pool.parallel_for(G.rows(), [&](int64_t i) {
    float* row = &out[static_cast<size_t>(i * (i + 1) / 2)];
    for (int64_t j = 0; j <= i; ++j)
      row[j] = static_cast<float>(factor * static_cast<double>(G(i, j)));
  });
  grams_ = {};
  return out;
}

TokenWeights token_weights(const ModelConfig& config, std::span<const GradientSums> sums) {
  // The gradients are of tokens drawn once for each place: a noisy measure of what errors there
  // cost, and a power below 1 is worth more than the measure itself.
  constexpr double kPower = 0.7;
  TokenWeights out;
  for (const LinearSite& site : linear_sites(config, 0)) {
    const std::vector<double>& energy = sums[site.linear].energies();
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

}  // namespace watersic
