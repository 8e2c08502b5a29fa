#include "calibration/stage_moments.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>
#include <vector>

#include "calibration/chance.h"
#include "calibration/gather_sums.h"

namespace watersic {
namespace {

// Rows times sqrt(p), so that their Gram matrix is weighted by p.
Matrix<float> weighted_rows(ThreadPool& pool, MatrixView<const float> X, std::span<const float> p) {
  Matrix<float> out(X.rows(), X.cols());
  pool.parallel_for(X.rows(), [&](int64_t i) {
    const float root = std::sqrt(p[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < X.cols(); ++j) out(i, j) = root * X(i, j);
  });
  return out;
}

// The sum and the contrast of two halves; the second may be empty. `contrast` is in second's place.
template <class T>
void combine(ThreadPool& pool, T factor, Matrix<T>& first, Matrix<T>& second, Matrix<T>* contrast) {
  const bool two = !second.empty();
  pool.parallel_for(first.rows(), [&](int64_t i) {
    for (int64_t j = 0; j < first.cols(); ++j) {
      const T a = first(i, j), b = two ? second(i, j) : T{0};
      first(i, j) = factor * (a + b);
      if (two) second(i, j) = factor * (a - b);
    }
  });
  if (two) *contrast = std::move(second);
}

void combine(ThreadPool& pool, double factor, double factor_of_S, Moments& first, Moments& second) {
  combine(pool, factor_of_S, first.S, second.S, &first.metric_contrast);
  combine(pool, factor, first.S_quantized, second.S_quantized, &first.metric_contrast);
  combine(pool, static_cast<float>(factor), first.drift, second.drift, &first.drift_contrast);
}

Matrix<double> widened(ThreadPool& pool, MatrixView<const float> A) {
  Matrix<double> out(A.rows(), A.cols());
  pool.parallel_for(A.rows(), [&](int64_t i) { std::ranges::copy(A.row(i), out.row(i).begin()); });
  return out;
}

MatrixView<const float> rows_of(MatrixView<const float> X, int64_t first, int64_t count) {
  return X.rows() == 0 ? X : X.block(first, 0, count, X.cols());
}

}  // namespace

void StageStatistics::shrink(ThreadPool& pool) {
  Moments& moments = weighted.empty() ? plain : weighted;
  if (!moments.metric_contrast.empty())
    shrink_correlations(pool, moments.metric_contrast, moments.metric());
  moments.metric_contrast = {};
}

void StageMoments::add_gram_to(ThreadPool& pool, MatrixView<const float> X,
                               Matrix<double>& S) const {
  if (S.empty()) S = Matrix<double>(X.cols(), X.cols());
  add_gram(pool, X, S, share_of(ranks_));
}

template <class Sum>
void StageMoments::add_cross_to(ThreadPool& pool, MatrixView<const float> X,
                                MatrixView<const float> Y, Matrix<Sum>& S) const {
  if (S.empty()) S = Matrix<Sum>(X.cols(), Y.cols());
  add_cross(pool, X, Y, S, share_of(ranks_));
}

void StageMoments::add_drift(ThreadPool& pool, MatrixView<const float> X,
                             MatrixView<const float> Xq, Matrix<float>& drift) const {
  if (!drift_ || Xq.rows() == 0) return;
  Matrix<float> difference(X.rows(), X.cols());
  pool.parallel_for(X.rows(), [&](int64_t i) {
    for (int64_t j = 0; j < X.cols(); ++j) difference(i, j) = X(i, j) - Xq(i, j);
  });
  add_cross_to(pool, difference, Xq, drift);
}

void StageMoments::add_half(ThreadPool& pool, const StageBatch& batch, StageStatistics& half,
                            Matrix<double>& lost) {
  const MatrixView<const float> X = batch.X, Xq = batch.X_quantized, l = batch.lost;
  const bool two = Xq.rows() > 0, weighted = !batch.p.empty();
  StageStatistics &first = halves_[0], &with_S = two ? first : half;
  const bool whole = !weighted || unweighted_ == Unweighted::kAll;
  if (whole || (unweighted_ == Unweighted::kS && tokens_ < tokens_of_S(X.cols()))) {
    add_gram_to(pool, X, (weighted ? first : with_S).plain.S);
    tokens_in_S_ += X.rows();
  }
  if (whole && two) {
    add_gram_to(pool, Xq, half.plain.S_quantized);
    add_drift(pool, X, Xq, half.plain.drift);
  }
  if (!weighted) {
    if (l.rows() > 0) add_cross_to(pool, l, Xq, lost);
    return;
  }
  Matrix<float> some;  // one at a time
  if (whole || !two) add_gram_to(pool, some = weighted_rows(pool, X, batch.p), with_S.weighted.S);
  if (!two) return;
  const Matrix<float> weighted_quantized = weighted_rows(pool, Xq, batch.p);
  add_gram_to(pool, weighted_quantized, half.weighted.S_quantized);
  if (drift_)
    add_drift(pool, some = weighted_rows(pool, X, batch.p), weighted_quantized,
              half.weighted.drift);
  if (l.rows() > 0) add_cross_to(pool, weighted_rows(pool, l, batch.p), weighted_quantized, lost);
}

void StageMoments::add(ThreadPool& pool, const StageBatch& batch) {
  const MatrixView<const float> X = batch.X, Xq = batch.X_quantized;
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
              .lost = rows_of(batch.lost, row, rows)},
             halves_[h], lost_[h]);
  }
  tokens_ += X.rows();
  std::vector<std::pair<double, double>> sums(static_cast<size_t>(Xq.rows()));
  pool.parallel_for(Xq.rows(), [&](int64_t i) {
    auto& [error, energy] = sums[static_cast<size_t>(i)];
    for (int64_t j = 0; j < Xq.cols(); ++j) {
      const double x = X(i, j), difference = Xq(i, j) - x;
      error += difference * difference;
      energy += x * x;
    }
  });
  for (const auto& [error, energy] : sums) {
    error_ += error;
    energy_ += energy;
  }
}

StageStatistics StageMoments::take(ThreadPool& pool, MatrixView<const float> W) {
  assert(tokens_ > 0);
  const double factor = 1.0 / static_cast<double>(tokens_),
               factor_of_S = 1.0 / static_cast<double>(std::max<int64_t>(1, tokens_in_S_));
  auto& [first, second] = halves_;
  for (StageStatistics* half : {&first, &second}) {
    for (Moments* moments : {&half->plain, &half->weighted}) {
      gather_gram(ranks_, moments->S);
      gather_gram(ranks_, moments->S_quantized);
      gather_cross(ranks_, moments->drift);
    }
  }
  const Matrix<double> wide = widened(pool, W);
  for (size_t h = 0; h < lost_.size(); ++h) {
    if (!wide.empty() && !lost_[h].empty())
      subtract_product(pool, wide, halves_[h].used().S_quantized, lost_[h].view(),
                       share_of(ranks_));
    gather_cross(ranks_, lost_[h]);
  }
  combine(pool, factor, factor_of_S, first.plain, second.plain);
  combine(pool, factor, factor, first.weighted, second.weighted);
  Matrix<double> contrast;
  combine(pool, factor, lost_[0], lost_[1], &contrast);
  first.lost = narrow(pool, lost_[0]);
  first.lost_contrast = narrow(pool, contrast);
  lost_ = {};
  first.capture_error = energy_ > 0 ? error_ / energy_ : 0;
  tokens_ = tokens_in_S_ = 0;
  error_ = energy_ = 0;
  second = {};
  return std::exchange(first, StageStatistics());
}

}  // namespace watersic
