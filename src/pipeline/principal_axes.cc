#include "pipeline/principal_axes.h"

#include <algorithm>

#include "linalg/blas.h"
#include "model/forward.h"
#include "pipeline/streams.h"

namespace watersic {
namespace {

double inverse(float gain) { return gain == 0 ? 0.0 : 1.0 / static_cast<double>(gain); }

// Columns: eigenvectors by falling eigenvalue, each with a largest entry above 0.
Matrix<float> falling_axes(Matrix<double> S, std::vector<double>* variances = nullptr) {
  const SymmetricEigen eigen = symmetric_eigen(std::move(S));
  const int64_t n = eigen.vectors.rows();
  if (variances != nullptr) variances->assign(eigen.values.rbegin(), eigen.values.rend());
  Matrix<float> Q(n, n);
  for (int64_t j = 0; j < n; ++j) {
    const auto axis = eigen.vectors.row(n - 1 - j);
    const double largest = *std::ranges::max_element(
        axis, [](double a, double b) { return std::abs(a) < std::abs(b); });
    for (int64_t i = 0; i < n; ++i)
      Q(i, j) = static_cast<float>(largest < 0 ? -axis[static_cast<size_t>(i)]
                                               : axis[static_cast<size_t>(i)]);
  }
  return Q;
}

void add(MatrixView<const double> term, double factor, Matrix<double>& sum) {
  for (int64_t i = 0; i < sum.rows(); ++i)
    for (int64_t j = 0; j < sum.cols(); ++j) sum(i, j) += factor * term(i, j);
}

// Sx and the energy of the readers' weights with their gain.
void add_readers(const BlockWeights& weights, std::span<const Linear> readers,
                 std::span<const float> gain, Matrix<double> S, Matrix<double>& sum) {
  double trace = 0, energy = 0;
  for (int64_t i = 0; i < S.rows(); ++i) {
    for (int64_t j = 0; j < S.cols(); ++j)
      S(i, j) *= inverse(gain[static_cast<size_t>(i)]) * inverse(gain[static_cast<size_t>(j)]);
    trace += S(i, i);
  }
  for (const Linear linear : readers) {
    const Matrix<float>& W = weights.linear[linear].weight;
    for (int64_t k = 0; k < W.rows(); ++k) {
      for (int64_t j = 0; j < W.cols(); ++j) {
        const double w = static_cast<double>(W(k, j)) * gain[static_cast<size_t>(j)];
        energy += w * w;
      }
    }
  }
  if (trace > 0) add(S, energy / trace, sum);
}

std::vector<Matrix<float>> head_axes(const ModelConfig& config, const Matrix<float>& W,
                                     const Matrix<double>& S) {
  const int64_t d = config.head_dim, sharing = config.heads / config.kv_heads;
  std::vector<Matrix<float>> axes;
  for (int64_t kv = 0; kv < config.kv_heads; ++kv) {
    Matrix<double> sum(d, d);
    for (int64_t head = kv * sharing; head < (kv + 1) * sharing; ++head) {
      double energy = 0;
      for (int64_t k = 0; k < W.rows(); ++k)
        for (const float w :
             W.row(k).subspan(static_cast<size_t>(head * d), static_cast<size_t>(d)))
          energy += static_cast<double>(w) * w;
      add(S.view().block(head * d, head * d, d, d), energy, sum);
    }
    axes.push_back(falling_axes(std::move(sum)));
  }
  return axes;
}

}  // namespace

PrincipalAxes principal_axes(const Context& context, const ModelConfig& config,
                             const WeightSource& source,
                             std::span<const std::vector<int32_t>> windows) {
  const size_t length = windows.front().size();
  windows = windows.first(
      std::min(windows.size(), std::max<size_t>(1, static_cast<size_t>(kAxesTokens) / length)));
  Streams streams(context, config, static_cast<int64_t>(windows.size()),
                  static_cast<int64_t>(length), embed_by(config, source, windows), false);
  constexpr Linear kAttention[] = {kQuery, kKey, kValue}, kMlp[] = {kGate, kUp};
  PrincipalAxes axes;
  Matrix<double> sum(config.hidden, config.hidden);
  for (int64_t block = 0; block < config.blocks; ++block) {
    const BlockWeights weights = load_block(context.pool(), config, source, block);
    streams.begin_block(weights);
    add_readers(weights, kAttention, weights.attention_norm,
                streams.statistics(Capture::kQkv, {}).plain.S, sum);
    axes.rotation.heads.push_back(head_axes(config, weights.linear[kOutput].weight,
                                            streams.statistics(Capture::kO, {}).plain.S));
    add_readers(weights, kMlp, weights.mlp_norm, streams.statistics(Capture::kGateUp, {}).plain.S,
                sum);
    streams.pass(Capture::kDown);
    streams.end_block();
  }
  axes.rotation.stream = falling_axes(std::move(sum), &axes.variances);
  return axes;
}

}  // namespace watersic
