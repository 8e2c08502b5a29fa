#include "pipeline/column_weights.h"

#include "linalg/blas.h"
#include "quant/layer.h"
#include "quant/means.h"

namespace watersic {

std::vector<double> column_weights(ThreadPool& pool, const Matrix<double>& S) {
  const int64_t n = S.cols();
  const double mean = mean_diagonal(S);
  std::vector<double> out(static_cast<size_t>(n));
  for (double damping = traits_of(Method::kWatersic).defaults.damping;; damping *= 10) {
    Matrix<double> L = S;
    for (int64_t i = 0; i < n; ++i) L(i, i) += damping * mean;
    if (mean > 0 && damping < 1 && cholesky(pool, L) >= 0) continue;
    for (int64_t i = 0; i < n; ++i) out[static_cast<size_t>(i)] = L(i, i) * L(i, i);
    return out;
  }
}

}  // namespace watersic
