#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "calibration/batch_errors.h"
#include "calibration/chance.h"
#include "calibration/stage_moments.h"
#include "calibration/windows.h"
#include "linalg/blas.h"
#include "support/thread_ranks.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(Windows, AreWholeDistinctAndInOrder) {
  std::vector<int32_t> ids(1000);
  std::iota(ids.begin(), ids.end(), 0);
  const auto all = pick_windows(ids, 100, 64, 1, "text");
  ASSERT_EQ(all.size(), 15U);  // 40 tokens are left over
  for (size_t w = 0; w < all.size(); ++w) {
    ASSERT_EQ(all[w].size(), 64U);
    EXPECT_EQ(all[w].front(), static_cast<int32_t>(64 * w));
  }
  const auto some = pick_windows(ids, 5, 64, 1, "text");
  ASSERT_EQ(some.size(), 5U);
  for (size_t w = 1; w < some.size(); ++w) EXPECT_LT(some[w - 1].front(), some[w].front());
  EXPECT_EQ(some, pick_windows(ids, 5, 64, 1, "text"));
  EXPECT_THROW(pick_windows(ids, 5, 1001, 1, "text"), Error);
}

struct Tokens {
  Matrix<float> X, Xq, R;
  std::vector<float> p;
};

Tokens make_tokens(int64_t count) {
  Rng rng(1);
  Tokens t{Matrix<float>(count, 9), Matrix<float>(count, 9), Matrix<float>(count, 5), {}};
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < 9; ++j) {
      t.X(i, j) = static_cast<float>(rng.normal());
      t.Xq(i, j) = t.X(i, j) + static_cast<float>(0.1 * rng.normal());
    }
    for (int64_t j = 0; j < 5; ++j) t.R(i, j) = static_cast<float>(rng.normal());
    t.p.push_back(static_cast<float>(std::exp(rng.normal())));
  }
  return t;
}

Matrix<float> lost_of(const Tokens& t) {
  Matrix<float> out = t.X;
  for (size_t i = 0; i < out.values().size(); ++i) out.values()[i] -= t.Xq.values()[i];
  return out;
}

// sum p a b^T / tokens by its definition, in float64.
template <class T>
void expect_moment(const Matrix<T>& M, const Matrix<float>& A, const Matrix<float>& B,
                   const std::vector<float>& p) {
  ASSERT_EQ(M.rows(), A.cols());
  ASSERT_EQ(M.cols(), B.cols());
  for (int64_t i = 0; i < M.rows(); ++i) {
    for (int64_t j = 0; j < M.cols(); ++j) {
      double expected = 0;
      for (int64_t k = 0; k < A.rows(); ++k) {
        const double weight = p.empty() ? 1.0 : static_cast<double>(p[static_cast<size_t>(k)]);
        expected += weight * A(k, i) * B(k, j) / static_cast<double>(A.rows());
      }
      EXPECT_NEAR(M(i, j), expected, 1e-5) << i << ", " << j;
    }
  }
}

TEST(StageMoments, AreMeansByTheirDefinition) {
  ThreadPool pool(2);
  const Tokens t = make_tokens(700);
  StageMoments sums({.two = true, .weighted = true, .drift = true});
  for (const auto& [row, rows] : {std::pair<int64_t, int64_t>{0, 512}, {512, 188}}) {
    sums.add(pool,
             {.X = t.X.view().block(row, 0, rows, 9),
              .X_quantized = t.Xq.view().block(row, 0, rows, 9),
              .p = std::span(t.p).subspan(static_cast<size_t>(row), static_cast<size_t>(rows)),
              .lost = t.R.view().block(row, 0, rows, 5)});
  }
  const StageStatistics out = sums.take(pool);
  const Matrix<float> lost = lost_of(t);
  expect_moment(out.plain.S, t.X, t.X, {});
  expect_moment(out.plain.S_quantized, t.Xq, t.Xq, {});
  expect_moment(out.plain.drift, lost, t.Xq, {});
  expect_moment(out.weighted.S, t.X, t.X, t.p);
  expect_moment(out.weighted.S_quantized, t.Xq, t.Xq, t.p);
  expect_moment(out.weighted.drift, lost, t.Xq, t.p);
  expect_moment(out.lost, t.R, t.Xq, t.p);
  // Of each batch the first half of the rows, less the others.
  std::vector<float> sign, signed_p;
  for (size_t i = 0; i < 700; ++i) {
    sign.push_back(i < 256 || (i >= 512 && i < 606) ? 1.0F : -1.0F);
    signed_p.push_back(sign.back() * t.p[i]);
  }
  expect_moment(out.plain.metric_contrast, t.Xq, t.Xq, sign);
  expect_moment(out.plain.drift_contrast, lost, t.Xq, sign);
  expect_moment(out.weighted.metric_contrast, t.Xq, t.Xq, signed_p);
  expect_moment(out.weighted.drift_contrast, lost, t.Xq, signed_p);
  expect_moment(out.lost_contrast, t.R, t.Xq, signed_p);
}

TEST(BatchErrors, AreMadeByTheRankThatHasTheBatch) {
  const Tokens t = make_tokens(700);
  for (const int size : {1, 2, 3}) {
    ThreadRanks::run(size, [&](const Communicator& ranks) {
      ThreadPool pool(1);
      BatchErrors errors(3);
      for (int64_t batch = ranks.rank(); batch < 3; batch += size) {
        const int64_t row = 300 * batch, rows = std::min<int64_t>(300, 700 - row);
        errors.add(pool, batch, t.X.view().block(row, 0, rows, 9),
                   t.Xq.view().block(row, 0, rows, 9));
      }
      double error = 0, energy = 0;
      for (size_t i = 0; i < t.X.values().size(); ++i) {
        error += std::pow(static_cast<double>(t.Xq.values()[i]) - t.X.values()[i], 2);
        energy += std::pow(static_cast<double>(t.X.values()[i]), 2);
      }
      EXPECT_NEAR(errors.ratio(ranks), error / energy, 1e-6);
      EXPECT_NEAR(error / energy, 0.01, 0.001);
    });
  }
}

// l told as l + W x' comes to the same, with weights of tokens and without.
TEST(StageMoments, WhatIsLostMayComeWithTheLayersOutputs) {
  ThreadPool pool(2);
  const Tokens t = make_tokens(700);
  Rng rng(2);
  Matrix<float> W(5, 9);
  for (float& w : W.values()) w = static_cast<float>(rng.normal());
  Matrix<float> Y = t.R;  // R + X' W^T
  gemm(pool, Op::kNone, Op::kTranspose, 1.0F, t.Xq, W, 1.0F, Y.view());
  for (const bool weighted : {false, true}) {
    const std::span<const float> p =
        weighted ? std::span<const float>(t.p) : std::span<const float>();
    StageMoments plain({.two = true, .weighted = weighted}),
        with({.two = true, .weighted = weighted});
    plain.add(pool, {.X = t.X, .X_quantized = t.Xq, .p = p, .lost = t.R});
    with.add(pool, {.X = t.X, .X_quantized = t.Xq, .p = p, .lost = Y});
    const StageStatistics expected = plain.take(pool), found = with.take(pool, W);
    for (const auto& [a, b] : {std::pair{&expected.lost, &found.lost},
                               {&expected.lost_contrast, &found.lost_contrast}}) {
      ASSERT_EQ(a->rows(), 5);
      for (size_t i = 0; i < a->values().size(); ++i)
        EXPECT_NEAR(a->values()[i], b->values()[i], 5e-6) << weighted << " " << i;
    }
  }
}

// Of independent inputs all correlations are chance; of inputs that are alike in both halves none.
TEST(Chance, IsTakenFromCorrelations) {
  ThreadPool pool(2);
  const Tokens t = make_tokens(400);
  const auto statistics_of = [&](const Matrix<float>& X) {
    StageMoments sums({});
    sums.add(pool, {.X = X});
    return sums.take(pool);
  };
  StageStatistics chance = statistics_of(t.X);
  const Matrix<double> before = chance.plain.S;
  Matrix<double> S = before;
  const double lambda = shrink_correlations(pool, chance.plain.metric_contrast, S);
  EXPECT_GT(lambda, 0.7);
  chance.shrink(pool);
  for (int64_t i = 0; i < 9; ++i)
    for (int64_t j = 0; j < 9; ++j)
      EXPECT_NEAR(chance.plain.S(i, j), (i == j ? 1 : 1 - lambda) * before(i, j), 1e-12);
  Matrix<float> twice(800, 9);
  for (int64_t i = 0; i < 800; ++i) std::ranges::copy(t.X.row(i % 400), twice.row(i).begin());
  StageStatistics sure = statistics_of(twice);
  EXPECT_NEAR(shrink_correlations(pool, sure.plain.metric_contrast, sure.plain.S), 0, 1e-9);
  EXPECT_NEAR(sure.plain.S(1, 2), before(1, 2), 1e-6);
}

TEST(StageMoments, HoldOnlyWhatIsGiven) {
  ThreadPool pool(2);
  const Tokens t = make_tokens(100);
  StageMoments one({.drift = true});
  one.add(pool, {.X = t.X});
  const StageStatistics alone = one.take(pool);
  expect_moment(alone.plain.S, t.X, t.X, {});
  EXPECT_TRUE(alone.plain.S_quantized.empty() && alone.weighted.S.empty());
  EXPECT_TRUE(alone.plain.drift.empty() && alone.lost.empty());
  // Of weighted tokens, where that is all one wants.
  StageMoments weights(
      {.two = true, .weighted = true, .drift = true, .unweighted = Unweighted::kS});
  weights.add(pool, {.X = t.X, .X_quantized = t.Xq, .p = t.p});
  const StageStatistics weighted = weights.take(pool);
  expect_moment(weighted.plain.S, t.X, t.X, {});
  expect_moment(weighted.weighted.drift, lost_of(t), t.Xq, t.p);
  EXPECT_TRUE(weighted.plain.drift.empty() && weighted.plain.S_quantized.empty());
  EXPECT_TRUE(weighted.weighted.S.empty());
  StageMoments two({.two = true});
  two.add(pool, {.X = t.X, .X_quantized = t.Xq});
  const StageStatistics drifted = two.take(pool);
  expect_moment(drifted.plain.S_quantized, t.Xq, t.Xq, {});
  EXPECT_TRUE(drifted.plain.drift.empty());
}

}  // namespace
}  // namespace watersic
