#include "quant/families.h"

#include <fmt/format.h>

#include <cmath>

#include "base/rng.h"
#include "linalg/blas.h"
#include "watersic/error.h"

namespace watersic {
namespace {

Matrix<double> normal_matrix(Rng& rng, int64_t rows, int64_t cols) {
  Matrix<double> A(rows, cols);
  for (double& x : A.values()) x = rng.normal();
  return A;
}

// Q diag(values) Q^T in a random basis: G = L^T-orthonormalised Gaussian, from the Cholesky factor
// of its Gram matrix.
Matrix<double> in_random_basis(ThreadPool& pool, Rng& rng, const std::vector<double>& values) {
  const auto n = static_cast<int64_t>(values.size());
  Matrix<double> Q = normal_matrix(rng, n, n);
  // Twice, since the first pass leaves the square of the condition number times the rounding.
  for (int pass = 0; pass < 2; ++pass) {
    Matrix<double> gram(n, n);
    add_gram(pool, Q, gram);
    if (cholesky(pool, gram) >= 0) throw Error("a random basis is singular; take another seed");
    solve_right_lower(pool, Op::kTranspose, gram, Q);
  }
  Matrix<double> scaled = Q;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) scaled(i, j) *= std::sqrt(values[static_cast<size_t>(j)]);
  Matrix<double> S(n, n);
  gemm(pool, Op::kNone, Op::kTranspose, 1.0, scaled, scaled, 0.0, S);
  return S;
}

Matrix<double> hard_covariance(ThreadPool& pool, Rng& rng, int64_t n) {
  const Matrix<double> factors = normal_matrix(rng, n / 3 + 1, n);
  Matrix<double> S(n, n);
  add_gram(pool, factors, S);
  std::vector<double> scale(static_cast<size_t>(n));
  for (double& s : scale) s = std::exp(0.75 * rng.normal());
  for (const int64_t j : rng.choose(n, std::min<int64_t>(12, n / 4)))
    scale[static_cast<size_t>(j)] = 1e-4;
  for (int64_t i = 0; i < n; ++i) {
    S(i, i) += 1e-3 * static_cast<double>(factors.rows());
    for (int64_t j = 0; j < n; ++j) {
      S(i, j) *= scale[static_cast<size_t>(i)] * scale[static_cast<size_t>(j)] /
                 static_cast<double>(factors.rows());
    }
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) S(j, i) = S(i, j);
  return S;
}

double laplace(Rng& rng) {
  const double magnitude = -std::log(1 - rng.uniform()) / std::sqrt(2.0);
  return rng.bits() >> 63 ? magnitude : -magnitude;
}

}  // namespace

const std::vector<std::string>& layer_families() {
  static const std::vector<std::string> names{"white", "powerlaw", "ar1", "lognormal_diag", "hard"};
  return names;
}

LayerData make_layer(ThreadPool& pool, const std::string& name, int64_t rows, int64_t cols,
                     uint64_t seed) {
  Rng rng(seed);
  LayerData layer{Matrix<float>(rows, cols), Matrix<double>(cols, cols)};
  Matrix<double>& S = layer.S;
  if (name == "powerlaw") {
    std::vector<double> values(static_cast<size_t>(cols));
    for (size_t i = 0; i < values.size(); ++i) values[i] = 1.0 / static_cast<double>(i + 1);
    S = in_random_basis(pool, rng, values);
  } else if (name == "hard") {
    S = hard_covariance(pool, rng, cols);
  } else if (name == "white" || name == "ar1" || name == "lognormal_diag") {
    for (int64_t i = 0; i < cols; ++i) {
      S(i, i) = name == "lognormal_diag" ? std::exp(1.5 * rng.normal()) : 1.0;
      if (name != "ar1") continue;
      for (int64_t j = 0; j < cols; ++j)
        S(i, j) = std::pow(0.97, static_cast<double>(std::abs(i - j)));
    }
  } else {
    throw Error(fmt::format(
        "layer family: expected white, powerlaw, ar1, lognormal_diag or hard, found '{}'", name));
  }
  for (int64_t k = 0; k < rows; ++k) {
    const double scale = name == "hard" ? std::exp(0.5 * rng.normal()) : 1.0;
    for (float& w : layer.W.row(k))
      w = static_cast<float>(name == "hard" ? scale * laplace(rng) : rng.normal());
  }
  return layer;
}

}  // namespace watersic
