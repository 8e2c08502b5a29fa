#include "quant/output_metric.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "base/strands.h"
#include "linalg/blas.h"
#include "quant/families.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr int64_t kRows = 10;

class OutputMetricTest : public testing::Test {
 protected:
  void SetUp() override {
    Rng rng(5);
    Matrix<double> A(3 * kRows, kRows);
    for (double& x : A.values()) x = rng.normal();
    for (int64_t i = 0; i < A.rows(); ++i)
      for (int64_t k = 1; k < kRows; ++k) A(i, k) += 0.8 * A(i, k - 1);
    add_gram(pool_, A, G_);
    double mean = 0;
    for (int64_t k = 0; k < kRows; ++k) mean += G_(k, k) / kRows;
    damped_ = G_;
    for (int64_t k = 0; k < kRows; ++k) damped_(k, k) += 0.1 * mean;
  }
  // x with A x = b, by elimination.
  static std::vector<double> solve(Matrix<double> A, std::vector<double> b) {
    const int64_t n = A.rows();
    for (int64_t k = 0; k < n; ++k) {
      for (int64_t i = k + 1; i < n; ++i) {
        const double f = A(i, k) / A(k, k);
        for (int64_t j = k; j < n; ++j) A(i, j) -= f * A(k, j);
        b[static_cast<size_t>(i)] -= f * b[static_cast<size_t>(k)];
      }
    }
    for (int64_t k = n; k-- > 0;) {
      for (int64_t j = k + 1; j < n; ++j)
        b[static_cast<size_t>(k)] -= A(k, j) * b[static_cast<size_t>(j)];
      b[static_cast<size_t>(k)] /= A(k, k);
    }
    return b;
  }

  ThreadPool pool_{1};
  Matrix<double> G_{kRows, kRows}, damped_;
};

TEST_F(OutputMetricTest, RowByRowTheWeightsAddUpToTheMetric) {
  const OutputFactor factor = factor_outputs(pool_, G_, 1, strand_order(G_.cols(), 1));
  Rng rng(2);
  std::vector<double> e(kRows);
  for (double& x : e) x = rng.normal();
  double direct = 0, sum = 0;
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < kRows; ++j)
      direct += e[static_cast<size_t>(i)] * damped_(i, j) * e[static_cast<size_t>(j)];
  for (int64_t k = 0; k < kRows; ++k) {
    double mended = e[static_cast<size_t>(k)];
    for (int64_t j = 0; j < k; ++j) mended += factor.feedback(k, j) * e[static_cast<size_t>(j)];
    const double root = factor.root[static_cast<size_t>(k)] * factor.scale;
    sum += root * root * mended * mended;
  }
  EXPECT_NEAR(sum, direct, 1e-5 * direct);
  double log_sum = 0;
  for (const double root : factor.root) log_sum += std::log2(root);
  EXPECT_NEAR(log_sum, 0, 1e-9);
}

// What a group should do about errors before it, were the rows behind it free to follow.
TEST_F(OutputMetricTest, AGroupMendsWhatThoseBeforeItHaveDone) {
  constexpr int64_t kGroup = 4;  // 4, 4 and 2
  const OutputFactor factor = factor_outputs(pool_, G_, kGroup, strand_order(G_.cols(), 1));
  Rng rng(3);
  std::vector<double> e(kRows);
  for (double& x : e) x = rng.normal();
  for (int64_t lo = kGroup; lo < kRows; lo += kGroup) {
    const int64_t left = kRows - lo;
    Matrix<double> rest(left, left);
    std::vector<double> right(static_cast<size_t>(left));
    for (int64_t i = 0; i < left; ++i) {
      for (int64_t j = 0; j < left; ++j) rest(i, j) = damped_(lo + i, lo + j);
      for (int64_t j = 0; j < lo; ++j)
        right[static_cast<size_t>(i)] -= damped_(lo + i, j) * e[static_cast<size_t>(j)];
    }
    const std::vector<double> best = solve(rest, right);
    for (int64_t k = lo; k < std::min(kRows, lo + kGroup); ++k) {
      double mended = 0;
      for (int64_t j = 0; j < kRows; ++j)
        mended -= factor.feedback(k, j) * e[static_cast<size_t>(j)];
      EXPECT_NEAR(mended, best[static_cast<size_t>(k - lo)], 1e-5) << k;
    }
  }
  for (int64_t k = 0; k < kRows; ++k)
    for (int64_t j = k / kGroup * kGroup; j < kRows; ++j) EXPECT_EQ(factor.feedback(k, j), 0);
}

TEST_F(OutputMetricTest, RowsOfPartsInTurnAreAMetricInAnotherOrder) {
  for (const int64_t strands : {2, 5}) {
    Matrix<double> ordered(kRows, kRows), diagonal(1, kRows), ordered_diagonal(1, kRows);
    const auto row = [&](int64_t k) { return k % strands * (kRows / strands) + k / strands; };
    for (int64_t k = 0; k < kRows; ++k) {
      for (int64_t j = 0; j < kRows; ++j) ordered(k, j) = G_(row(k), row(j));
      diagonal(0, k) = G_(k, k);
      ordered_diagonal(0, k) = ordered(k, k);
    }
    const OutputFactor factor = factor_outputs(pool_, G_, 2, strand_order(G_.cols(), strands)),
                       same = factor_outputs(pool_, ordered, 2, strand_order(ordered.cols(), 1));
    EXPECT_EQ(factor.root, same.root);
    EXPECT_TRUE(std::ranges::equal(factor.feedback.values(), same.feedback.values()));
    EXPECT_EQ(
        factor_outputs(pool_, diagonal, 2, strand_order(diagonal.cols(), strands)).root,
        factor_outputs(pool_, ordered_diagonal, 2, strand_order(ordered_diagonal.cols(), 1)).root);
  }
}

TEST_F(OutputMetricTest, ADiagonalNeedsNoFeedback) {
  Matrix<double> diagonal(1, kRows);
  for (int64_t k = 0; k < kRows; ++k) diagonal(0, k) = static_cast<double>(k * k);
  const OutputFactor factor = factor_outputs(pool_, diagonal, 4, strand_order(diagonal.cols(), 1));
  EXPECT_EQ(factor.group_rows, kRows);
  EXPECT_EQ(factor.feedback.rows(), 0);
  for (int64_t k = 0; k < kRows; ++k) {  // damped by a tenth of the mean, 28.5
    const double root = factor.root[static_cast<size_t>(k)] * factor.scale;
    EXPECT_NEAR(root * root, static_cast<double>(k * k) + 2.85, 1e-9);
  }
  const OutputFactor nothing =
      factor_outputs(pool_, Matrix<double>(kRows, kRows), 4, strand_order(kRows, 1));
  EXPECT_EQ(nothing.root, std::vector<double>(kRows, 1.0));
}

TEST_F(OutputMetricTest, WhatIsNoMetricIsRefused) {
  G_(0, 0) = -5 * G_(0, 0);
  EXPECT_THROW(factor_outputs(pool_, G_, 4, strand_order(G_.cols(), 1)), Error);
}

}  // namespace
}  // namespace watersic
