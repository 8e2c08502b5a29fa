#include "api/check_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "watersic/error.h"

namespace watersic {

void check_weights(MatrixView<const float> W) {
  if (W.rows() == 0 || W.cols() == 0) {
    throw Error(fmt::format("weights: expected a matrix, found {} x {}", W.rows(), W.cols()));
  }
  for (int64_t k = 0; k < W.rows(); ++k)
    for (int64_t j = 0; j < W.cols(); ++j)
      if (!std::isfinite(W(k, j)))
        throw Error(fmt::format("weights: expected finite values, found {} at row {}, column {}",
                                W(k, j), k, j));
}

void check_covariance(MatrixView<const double> S, int64_t n) {
  if (S.rows() != n || S.cols() != n) {
    throw Error(
        fmt::format("covariance: expected {} x {} (the weights have {} columns), found {} x {}", n,
                    n, n, S.rows(), S.cols()));
  }
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      if (!std::isfinite(S(i, j)))
        throw Error(fmt::format("covariance: expected finite values, found {} at row {}, column {}",
                                S(i, j), i, j));
    }
    largest = std::max(largest, std::fabs(S(i, i)));
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      if (std::fabs(S(i, j) - S(j, i)) > 1e-6 * largest) {
        throw Error(fmt::format(
            "covariance: expected a symmetric matrix, found {} at ({}, {}) and {} at ({}, {})",
            S(i, j), i, j, S(j, i), j, i));
      }
    }
  }
}

}  // namespace watersic
