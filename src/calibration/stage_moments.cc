#include "calibration/stage_moments.h"

#include <cmath>
#include <utility>
#include <vector>

#include "calibration/chance.h"
#include "calibration/gather_sums.h"

namespace watersic {
namespace {

// Rows times sqrt(p), so that their Gram matrix is weighted by p.
Matrix<float> weighted_rows(MatrixView<const float> X, std::span<const float> p) {
  Matrix<float> out(X.rows(), X.cols());
  for (int64_t i = 0; i < X.rows(); ++i) {
    const float root = std::sqrt(p[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < X.cols(); ++j) out(i, j) = root * X(i, j);
  }
  return out;
}

// The sum and the contrast of two halves; the second may be empty. `contrast` is in second's place.
void combine(double factor, Matrix<double>& first, Matrix<double>& second,
             Matrix<double>* contrast) {
  if (!second.empty()) {
    for (size_t i = 0; i < first.values().size(); ++i) {
      const double sum = first.values()[i] + second.values()[i];
      second.values()[i] = factor * (first.values()[i] - second.values()[i]);
      first.values()[i] = sum;
    }
    *contrast = std::move(second);
  }
  for (double& value : first.values()) value *= factor;
}

void combine(double factor, Moments& first, Moments& second) {
  combine(factor, first.S, second.S, &first.metric_contrast);
  combine(factor, first.S_quantized, second.S_quantized, &first.metric_contrast);
  combine(factor, first.drift, second.drift, &first.drift_contrast);
}

MatrixView<const float> rows_of(MatrixView<const float> X, int64_t first, int64_t count) {
  return X.rows() == 0 ? X : X.block(first, 0, count, X.cols());
}

}  // namespace

void StageStatistics::shrink() {
  Moments& moments = weighted.empty() ? plain : weighted;
  if (!moments.metric_contrast.empty())
    shrink_correlations(moments.metric_contrast, moments.metric());
  moments.metric_contrast = {};
}

void StageMoments::add_gram_to(ThreadPool& pool, MatrixView<const float> X,
                               Matrix<double>& S) const {
  if (S.empty()) S = Matrix<double>(X.cols(), X.cols());
  add_gram(pool, X, S, share_of(ranks_));
}

void StageMoments::add_cross_to(ThreadPool& pool, MatrixView<const float> X,
                                MatrixView<const float> Y, Matrix<double>& S) const {
  if (S.empty()) S = Matrix<double>(X.cols(), Y.cols());
  add_cross(pool, X, Y, S, share_of(ranks_));
}

void StageMoments::add_moments(ThreadPool& pool, MatrixView<const float> X,
                               MatrixView<const float> Xq, bool original, Moments& all,
                               Moments& half) const {
  if (original) add_gram_to(pool, X, all.S);
  if (Xq.rows() == 0) return;
  add_gram_to(pool, Xq, half.S_quantized);
  if (!drift_) return;
  Matrix<float> lost(X.rows(), X.cols());
  for (int64_t i = 0; i < X.rows(); ++i)
    for (int64_t j = 0; j < X.cols(); ++j) lost(i, j) = X(i, j) - Xq(i, j);
  add_cross_to(pool, lost, Xq, half.drift);
}

void StageMoments::add_half(ThreadPool& pool, const StageBatch& batch, StageStatistics& half) {
  const MatrixView<const float> X = batch.X, Xq = batch.X_quantized;
  StageStatistics &first = halves_[0], &with_S = Xq.rows() == 0 ? half : first;
  if (batch.p.empty()) {
    add_moments(pool, X, Xq, true, with_S.plain, half.plain);
    if (batch.residual.rows() > 0) add_cross_to(pool, batch.residual, Xq, half.residual);
    return;
  }
  add_moments(pool, X, both_ ? Xq : MatrixView<const float>(), true, first.plain, half.plain);
  const Matrix<float> weighted_quantized = weighted_rows(Xq, batch.p);
  add_moments(pool, weighted_rows(X, batch.p), weighted_quantized, both_ || Xq.rows() == 0,
              with_S.weighted, half.weighted);
  if (batch.residual.rows() > 0)
    add_cross_to(pool, weighted_rows(batch.residual, batch.p), weighted_quantized, half.residual);
}

void StageMoments::add(ThreadPool& pool, const StageBatch& batch) {
  const MatrixView<const float> X = batch.X, Xq = batch.X_quantized;
  tokens_ += X.rows();
  const int64_t middle = (X.rows() + 1) / 2;
  for (size_t h = 0; h < halves_.size(); ++h) {
    const int64_t row = h == 0 ? 0 : middle, rows = h == 0 ? middle : X.rows() - middle;
    if (rows == 0) continue;
    const auto p = batch.p.empty()
                       ? batch.p
                       : batch.p.subspan(static_cast<size_t>(row), static_cast<size_t>(rows));
    add_half(pool,
             {.X = rows_of(X, row, rows),
              .X_quantized = rows_of(Xq, row, rows),
              .p = p,
              .residual = rows_of(batch.residual, row, rows)},
             halves_[h]);
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
  auto& [first, second] = halves_;
  for (StageStatistics* half : {&first, &second}) {
    for (Moments* moments : {&half->plain, &half->weighted}) {
      gather_gram(ranks_, moments->S);
      gather_gram(ranks_, moments->S_quantized);
      gather_cross(ranks_, moments->drift);
    }
    gather_cross(ranks_, half->residual);
  }
  combine(factor, first.plain, second.plain);
  combine(factor, first.weighted, second.weighted);
  combine(factor, first.residual, second.residual, &first.residual_contrast);
  first.capture_error = energy_ > 0 ? error_ / energy_ : 0;
  tokens_ = 0;
  error_ = energy_ = 0;
  second = {};
  return std::exchange(first, StageStatistics());
}

}  // namespace watersic
