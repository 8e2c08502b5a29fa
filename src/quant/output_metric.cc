#include "quant/output_metric.h"

#include <algorithm>
#include <cmath>

#include "linalg/blas.h"
#include "quant/means.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr double kDamping = 0.1;  // of the diagonal's mean

void normalise(OutputFactor& factor) {
  double log_mean = 0;
  for (const double r : factor.root)
    log_mean += std::log2(r) / static_cast<double>(factor.root.size());
  factor.scale = std::exp2(log_mean);
  for (double& r : factor.root) r /= factor.scale;
}

}  // namespace

OutputFactor factor_outputs(ThreadPool& pool, MatrixView<const double> G, int64_t group_rows,
                            std::span<const int64_t> order, bool with_feedback) {
  const int64_t a = G.cols();
  const auto row = [&](int64_t k) { return order[static_cast<size_t>(k)]; };
  const bool diagonal = G.rows() == 1;
  const double mean = mean_diagonal(G);
  OutputFactor out{.group_rows = group_rows, .root = {}, .feedback = {}};
  if (diagonal || !(mean > 0)) {
    out.group_rows = a;
    for (int64_t k = 0; k < a; ++k)
      out.root.push_back(mean > 0 ? std::sqrt(G(0, row(k)) + kDamping * mean) : 1.0);
    normalise(out);
    return out;
  }
  if (with_feedback) out.feedback = Matrix<float>(a, a);
  // G = U U^T, U upper triangular: the Cholesky factor of G turned around, U(i, j) =
  // C(a - 1 - i, a - 1 - j). So the first group comes first. Damped as it is, float32 will do.
  Matrix<float> C(a, a);
  pool.parallel_for(a, [&](int64_t i) {
    for (int64_t j = 0; j <= i; ++j)
      C(i, j) = static_cast<float>(
          (G(row(a - 1 - i), row(a - 1 - j)) + (i == j ? kDamping * mean : 0.0)) / mean);
  });
  if (cholesky(pool, C.view()) >= 0)
    throw Error("the metric of the outputs is not positive semidefinite");
  for (int64_t lo = 0; lo < a; lo += group_rows) {
    const int64_t hi = std::min(a, lo + group_rows), rows = hi - lo;
    for (int64_t k = lo; k < hi; ++k) {
      double weight = 0;
      for (int64_t j = k; j < hi; ++j) {
        const double u = C(a - 1 - k, a - 1 - j);
        weight += u * u;
      }
      out.root.push_back(std::sqrt(weight * mean));
    }
    if (!with_feedback) continue;
    // feedback[b, before]^T = U[before, b] U_bb^{-1}, in C's order from behind.
    Matrix<float> X(lo, rows);
    pool.parallel_for(lo, [&](int64_t i) {
      for (int64_t q = 0; q < rows; ++q) X(i, q) = C(a - 1 - i, a - hi + q);
    });
    solve_right_lower(pool, Op::kNone, C.view().block(a - hi, a - hi, rows, rows), X.view());
    constexpr int64_t kTile = 32;  // both sides of a tile stay in cache
    pool.parallel_for(tile_count(lo, kTile), [&](int64_t tile) {
      const int64_t begin = tile * kTile, end = std::min(lo, begin + kTile);
      for (int64_t q = 0; q < rows; ++q)
        for (int64_t i = begin; i < end; ++i) out.feedback(hi - 1 - q, i) = X(i, q);
    });
  }
  normalise(out);
  return out;
}

}  // namespace watersic
