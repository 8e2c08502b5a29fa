#include "api/check_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "watersic/error.h"

namespace watersic {

namespace {

// Symmetric, and as far as its 2 x 2 minors tell without negative eigenvalues.
void check_second_moment(MatrixView<const double> S, const char* what) {
  const int64_t n = S.rows();
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      if (!std::isfinite(S(i, j)))
        throw Error(fmt::format("{}: expected finite values, found {} at row {}, column {}", what,
                                S(i, j), i, j));
    }
    largest = std::max(largest, std::fabs(S(i, i)));
  }
  constexpr double kRounding = 1e-6;
  for (int64_t i = 0; i < n; ++i) {
    if (S(i, i) < -kRounding * largest)
      throw Error(fmt::format("{}: expected no negative value on the diagonal, found {} at row {}",
                              what, S(i, i), i));
    for (int64_t j = 0; j < i; ++j) {
      if (std::fabs(S(i, j) - S(j, i)) > kRounding * largest) {
        throw Error(
            fmt::format("{}: expected a symmetric matrix, found {} at ({}, {}) and {} at ({}, {})",
                        what, S(i, j), i, j, S(j, i), j, i));
      }
      const double most = std::sqrt(std::max(0.0, S(i, i)) * std::max(0.0, S(j, j)));
      if (std::fabs(S(i, j)) > most + kRounding * largest)
        throw Error(
            fmt::format("{}: expected a positive semidefinite matrix, found {} at ({}, {}), "
                        "more than the {} that its diagonal allows",
                        what, S(i, j), i, j, most));
    }
  }
}

}  // namespace

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
  check_second_moment(S, "covariance");
}

void check_output_metric(MatrixView<const double> G, int64_t a) {
  if (G.rows() != a || G.cols() != a) {
    throw Error(
        fmt::format("output metric: expected {} x {} (the weights have {} rows), found {} x {}", a,
                    a, a, G.rows(), G.cols()));
  }
  check_second_moment(G, "output metric");
}

}  // namespace watersic
