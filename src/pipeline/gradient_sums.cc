#include "pipeline/gradient_sums.h"

#include <cmath>
#include <span>

#include "calibration/chance.h"
#include "calibration/gather_sums.h"
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

void GradientSums::add(ThreadPool& pool, const Communicator& ranks, MatrixView<const float> g) {
  const size_t seen = energies_.size();
  energies_.resize(seen + static_cast<size_t>(g.rows()));
  by_rows(pool, g.rows(),
          [&](int64_t i) { energies_[seen + static_cast<size_t>(i)] = energy(g.row(i)); });
  const int64_t a = g.cols();
  if (a > OutputGradients::kMostRows) {
    diagonal_.resize(static_cast<size_t>(a));
    for (int64_t i = 0; i < g.rows(); ++i)
      for (int64_t k = 0; k < a; ++k)
        diagonal_[static_cast<size_t>(k)] += static_cast<double>(g(i, k)) * g(i, k);
    return;
  }
  const int64_t middle = (g.rows() + 1) / 2;
  for (size_t h = 0; h < 2; ++h) {
    if (halves_[h].empty()) halves_[h] = Matrix<float>(a, a);
    add_gram(pool, h == 0 ? g.block(0, 0, middle, a) : g.block(middle, 0, g.rows() - middle, a),
             halves_[h].view(), share_of(ranks));
  }
}

std::vector<float> GradientSums::take_metric(ThreadPool& pool, const Communicator& ranks) {
  const double factor = 1 / static_cast<double>(energies_.size());
  std::vector<float> out;
  if (is_diagonal()) {
    out.reserve(diagonal_.size());
    for (const double x : diagonal_) out.push_back(static_cast<float>(factor * x));
    return out;
  }
  for (Matrix<float>& half : halves_) gather_gram(ranks, half);
  Matrix<float>&G = halves_[0], &contrast = halves_[1];
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
  halves_ = {};
  return out;
}

TokenWeights token_weights(const ModelConfig& config,
                           const std::array<GradientSums, kLinears>& sums) {
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
