#include "quant/distortion.h"

#include <algorithm>

#include "linalg/blas.h"
#include "quant/half_products.h"
#include "quant/means.h"
#include "quant/slabs.h"

namespace watersic {

Distortions distortions(ThreadPool& pool, const LayerProblem& problem, const ValueRows& V) {
  const MatrixView<const double> G = problem.output_metric;
  const int64_t a = problem.W.rows(), n = problem.W.cols();
  const bool weighted = G.rows() > 0, across = G.rows() > 1;  // and rows see each other
  // E S in float64, since the loop has made E such that most of it cancels.
  const Matrix<float> narrow_G = across ? narrow(pool, G) : Matrix<float>();
  const int64_t slab = across ? a : kWideRows;
  Distortions out;
  for (int64_t lo = 0; lo < a; lo += slab) {
    const int64_t rows = std::min(slab, a - lo);
    Matrix<double> E(rows, n);
    {
      const Matrix<float> values = V(lo, rows);
      pool.parallel_for(rows, [&](int64_t k) {
        for (int64_t j = 0; j < n; ++j)
          E(k, j) = static_cast<double>(problem.W(lo + k, j)) - values(k, j);
      });
    }
    if (!weighted) {
      out.plain += quadratic_trace(pool, E, problem.S);
      continue;
    }
    half_products<double>(pool, E, problem.S, [&](int64_t left, const Matrix<double>& ES) {
      const int64_t cols = ES.cols();
      const MatrixView<const double> some = E.view().block(0, left, rows, cols);
      Matrix<float> GE(across ? a : 0, cols);
      if (across) gemm(pool, Op::kNone, Op::kNone, 1.0F, narrow_G, narrow(pool, some), 0.0F, GE);
      std::vector<Distortions> sums(static_cast<size_t>(rows));
      pool.parallel_for(rows, [&](int64_t k) {
        Distortions& sum = sums[static_cast<size_t>(k)];
        for (int64_t j = 0; j < cols; ++j) {
          const double felt = across ? GE(k, j) : G(0, lo + k) * some(k, j);
          sum.plain += some(k, j) * ES(k, j);
          sum.weighted += felt * ES(k, j);
        }
      });
      for (const Distortions& sum : sums) {
        out.plain += sum.plain;
        out.weighted += sum.weighted;
      }
    });
  }
  const auto weights = static_cast<double>(std::max<int64_t>(1, problem.W.size()));
  const double mean = weighted ? mean_diagonal(G) : 0;
  out.plain /= weights;
  out.weighted = mean > 0 ? out.weighted / (mean * weights) : 0;
  return out;
}

Distortions distortions(ThreadPool& pool, const LayerProblem& problem, MatrixView<const float> V) {
  return distortions(pool, problem, [&](int64_t first, int64_t rows) {
    Matrix<float> some(rows, V.cols());
    for (int64_t k = 0; k < rows; ++k) std::ranges::copy(V.row(first + k), some.row(k).begin());
    return some;
  });
}

double distortion(ThreadPool& pool, const LayerProblem& problem, MatrixView<const float> V) {
  return distortions(pool, {.W = problem.W, .S = problem.S}, V).plain;
}

// In float32: a sum of squares, of which nothing cancels.
double signal(ThreadPool& pool, MatrixView<const float> W, MatrixView<const double> S) {
  return quadratic_trace(pool, W, S) / static_cast<double>(std::max<int64_t>(1, W.size()));
}

}  // namespace watersic
