#include "calibration/stage_moments.h"

#include <cmath>
#include <utility>
#include <vector>

#include "linalg/blas.h"

namespace watersic {
namespace {

void ensure(Matrix<double>& M, int64_t rows, int64_t cols) {
  if (M.empty()) M = Matrix<double>(rows, cols);
}

// Rows times sqrt(p), so that their Gram matrix is weighted by p.
Matrix<float> weighted_rows(MatrixView<const float> X, std::span<const float> p) {
  Matrix<float> out(X.rows(), X.cols());
  for (int64_t i = 0; i < X.rows(); ++i) {
    const float root = std::sqrt(p[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < X.cols(); ++j) out(i, j) = root * X(i, j);
  }
  return out;
}

void scale(Moments& moments, double factor) {
  for (Matrix<double>* M : {&moments.S, &moments.S_quantized, &moments.cross})
    for (double& value : M->values()) value *= factor;
}

}  // namespace

void StageMoments::add_moments(ThreadPool& pool, MatrixView<const float> X,
                               MatrixView<const float> Xq, Moments& sums) const {
  const int64_t n = X.cols();
  ensure(sums.S, n, n);
  add_gram(pool, X, sums.S);
  if (Xq.rows() == 0) return;
  ensure(sums.S_quantized, n, n);
  add_gram(pool, Xq, sums.S_quantized);
  if (!cross_) return;
  ensure(sums.cross, n, n);
  add_cross(pool, X, Xq, sums.cross);
}

void StageMoments::add(ThreadPool& pool, const StageBatch& batch) {
  const MatrixView<const float> X = batch.X, Xq = batch.X_quantized;
  tokens_ += X.rows();
  add_moments(pool, X, both_ || batch.p.empty() ? Xq : MatrixView<const float>(), sums_.plain);
  const auto add_residual = [&](MatrixView<const float> residual, MatrixView<const float> inputs) {
    if (residual.rows() == 0) return;
    ensure(sums_.residual, residual.cols(), inputs.cols());
    add_cross(pool, residual, inputs, sums_.residual);
  };
  if (batch.p.empty()) {
    add_residual(batch.residual, Xq);
  } else {
    const Matrix<float> weighted_quantized = weighted_rows(Xq, batch.p);
    add_moments(pool, weighted_rows(X, batch.p), weighted_quantized, sums_.weighted);
    add_residual(weighted_rows(batch.residual, batch.p), weighted_quantized);
  }
  for (int64_t i = 0; i < Xq.rows(); ++i) {
    for (int64_t j = 0; j < Xq.cols(); ++j) {
      const double x = X(i, j), difference = Xq(i, j) - x;
      error_ += difference * difference;
      energy_ += x * x;
    }
  }
}

StageStatistics StageMoments::take() {
  assert(tokens_ > 0);
  const double factor = 1.0 / static_cast<double>(tokens_);
  scale(sums_.plain, factor);
  scale(sums_.weighted, factor);
  for (double& value : sums_.residual.values()) value *= factor;
  sums_.capture_error = energy_ > 0 ? error_ / energy_ : 0;
  tokens_ = 0;
  error_ = energy_ = 0;
  return std::exchange(sums_, StageStatistics());
}

}  // namespace watersic
