#include "calibration/stage_moments.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "calibration/chance.h"

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

void combine(ThreadPool& pool, double factor, Moments& first, Moments& second) {
  combine(pool, factor, first.S, second.S, &first.metric_contrast);
  combine(pool, factor, first.S_quantized, second.S_quantized, &first.metric_contrast);
  combine(pool, static_cast<float>(factor), first.drift, second.drift, &first.drift_contrast);
}

Matrix<double> times(ThreadPool& pool, double factor, Matrix<double> A) {
  pool.parallel_for(A.rows(), [&](int64_t i) {
    for (double& x : A.row(i)) x *= factor;
  });
  return A;
}

Matrix<double> widened(ThreadPool& pool, MatrixView<const float> A) {
  Matrix<double> out(A.rows(), A.cols());
  pool.parallel_for(A.rows(), [&](int64_t i) { std::ranges::copy(A.row(i), out.row(i).begin()); });
  return out;
}

MatrixView<const float> rows_of(MatrixView<const float> X, int64_t first, int64_t count) {
  return X.rows() == 0 ? X : X.block(first, 0, count, X.cols());
}

void add_gram_to(ThreadPool& pool, MatrixView<const float> X, TileShare share, Matrix<double>& S) {
  if (S.empty()) S = Matrix<double>(X.cols(), X.cols());
  add_gram(pool, X, S, share);
}

template <class Sum>
void add_cross_to(ThreadPool& pool, MatrixView<const float> X, MatrixView<const float> Y,
                  TileShare share, Matrix<Sum>& S) {
  if (S.empty()) S = Matrix<Sum>(X.cols(), Y.cols());
  add_cross(pool, X, Y, S, share);
}

}  // namespace

void StageStatistics::shrink(ThreadPool& pool) {
  Moments& moments = weighted.empty() ? plain : weighted;
  if (!moments.metric_contrast.empty())
    shrink_correlations(pool, moments.metric_contrast, moments.metric());
  moments.metric_contrast = {};
}

bool StageMoments::all_hear(int64_t row, int64_t n) const {
  if (!wanted_.weighted) return wanted_.two;
  return wanted_.unweighted == Unweighted::kAll ||
         (wanted_.unweighted == Unweighted::kS && row < tokens_of_S(n));
}

void StageMoments::add_drift(ThreadPool& pool, MatrixView<const float> X,
                             MatrixView<const float> Xq, Matrix<float>& drift) const {
  if (!wanted_.drift) return;
  Matrix<float> difference(X.rows(), X.cols());
  pool.parallel_for(X.rows(), [&](int64_t i) {
    for (int64_t j = 0; j < X.cols(); ++j) difference(i, j) = X(i, j) - Xq(i, j);
  });
  add_cross_to(pool, difference, Xq, halves_.share(), drift);
}

void StageMoments::add_half(ThreadPool& pool, const StageBatch& batch, HalfSums& half) const {
  const MatrixView<const float> X = batch.X, Xq = batch.X_quantized, l = batch.lost;
  const TileShare share = halves_.share();
  Moments &plain = half.of.plain, &weighted = half.of.weighted;
  if (wanted_.two && (!wanted_.weighted || wanted_.unweighted == Unweighted::kAll)) {
    add_gram_to(pool, Xq, share, plain.S_quantized);
    add_drift(pool, X, Xq, plain.drift);
  }
  if (!wanted_.weighted) {
    if (!wanted_.two) add_gram_to(pool, X, share, plain.S);
    if (l.rows() > 0) add_cross_to(pool, l, Xq, share, half.lost);
    return;
  }
  if (!wanted_.two) {
    add_gram_to(pool, weighted_rows(pool, X, batch.p), share, weighted.S);
    return;
  }
  const Matrix<float> weighted_quantized = weighted_rows(pool, Xq, batch.p);
  add_gram_to(pool, weighted_quantized, share, weighted.S_quantized);
  if (wanted_.drift)
    add_drift(pool, weighted_rows(pool, X, batch.p), weighted_quantized, weighted.drift);
  if (l.rows() > 0)
    add_cross_to(pool, weighted_rows(pool, l, batch.p), weighted_quantized, share, half.lost);
}

void StageMoments::add_to_all(ThreadPool& pool, const StageBatch& batch) {
  if (!all_hear(batch.row, batch.X.cols())) return;
  add_gram_to(pool, batch.X, halves_.share_of_all(), S_);
  tokens_in_S_ += batch.X.rows();
  if (wanted_.two && wanted_.weighted && wanted_.unweighted == Unweighted::kAll)
    add_gram_to(pool, weighted_rows(pool, batch.X, batch.p), halves_.share_of_all(), weighted_S_);
}

void StageMoments::add_to_halves(ThreadPool& pool, const StageBatch& batch) {
  const int64_t tokens = wanted_.two ? batch.X_quantized.rows() : batch.X.rows();
  for (int h = 0; h < 2; ++h) {
    const auto [row, rows] = rows_in(h, batch.half, tokens);
    if (rows == 0 || !halves_.has(h)) continue;
    const auto p = batch.p.empty()
                       ? batch.p
                       : batch.p.subspan(static_cast<size_t>(row), static_cast<size_t>(rows));
    HalfSums& half = sums_[static_cast<size_t>(h)];
    half.tokens += static_cast<double>(rows);
    add_half(pool,
             {.X = rows_of(batch.X, row, rows),
              .X_quantized = rows_of(batch.X_quantized, row, rows),
              .p = p,
              .lost = rows_of(batch.lost, row, rows)},
             half);
  }
}

void StageMoments::gather(ThreadPool& pool, int h, MatrixView<const float> W) {
  HalfSums& half = sums_[static_cast<size_t>(h)];
  halves_.gather(h, {&half.tokens, 1});
  for (Moments* moments : {&half.of.plain, &half.of.weighted}) {
    halves_.gather_gram(h, moments->S);
    halves_.gather_gram(h, moments->S_quantized);
    halves_.gather_cross(h, moments->drift);
  }
  if (W.rows() > 0 && !half.lost.empty())
    subtract_product(pool, widened(pool, W), half.of.used().S_quantized, half.lost.view(),
                     halves_.share());
  halves_.gather_cross(h, half.lost);
}

StageStatistics StageMoments::take(ThreadPool& pool, MatrixView<const float> W) {
  for (int h = 0; h < 2; ++h) gather(pool, h, W);
  auto& [first, second] = sums_;
  assert(first.tokens > 0);
  const double factor = 1 / (first.tokens + second.tokens);
  combine(pool, factor, first.of.plain, second.of.plain);
  combine(pool, factor, first.of.weighted, second.of.weighted);
  for (Matrix<double>* S : {&S_, &weighted_S_}) halves_.gather_gram(*S);
  if (tokens_in_S_ > 0)
    first.of.plain.S = times(pool, 1 / static_cast<double>(tokens_in_S_), std::move(S_));
  if (!weighted_S_.empty()) first.of.weighted.S = times(pool, factor, std::move(weighted_S_));
  Matrix<double> contrast;
  combine(pool, factor, first.lost, second.lost, &contrast);
  first.of.lost = narrow(pool, first.lost);
  first.of.lost_contrast = narrow(pool, contrast);
  StageStatistics out = std::move(first.of);
  sums_ = {};
  S_ = weighted_S_ = {};
  tokens_in_S_ = 0;
  return out;
}

}  // namespace watersic
