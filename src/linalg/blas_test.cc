#include "linalg/blas.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/random_matrix.h"

namespace watersic {
namespace {

Matrix<double> naive_product(MatrixView<const double> A, MatrixView<const double> B,
                             bool transpose_b) {
  Matrix<double> C(A.rows(), transpose_b ? B.rows() : B.cols());
  for (int64_t i = 0; i < C.rows(); ++i)
    for (int64_t j = 0; j < C.cols(); ++j)
      for (int64_t k = 0; k < A.cols(); ++k) C(i, j) += A(i, k) * (transpose_b ? B(j, k) : B(k, j));
  return C;
}

double relative_difference(const Matrix<double>& A, const Matrix<double>& B) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < A.values().size(); ++i) {
    difference += std::pow(A.values()[i] - B.values()[i], 2);
    norm += std::pow(B.values()[i], 2);
  }
  return std::sqrt(difference / norm);
}

TEST(Linalg, GemmOverSeveralTiles) {
  ThreadPool pool(3);
  const auto A = random_matrix<double>(300, 70, 1), B = random_matrix<double>(600, 70, 2);
  Matrix<double> C(300, 600);
  gemm(pool, Op::kNone, Op::kTranspose, 1.0, A, B, 0.0, C);
  EXPECT_LT(relative_difference(C, naive_product(A, B, true)), 1e-14);
}

TEST(Linalg, TheSameBytesAtAnyNumberOfThreads) {
  const auto A = random_matrix<float>(700, 300, 3), B = random_matrix<float>(300, 1100, 4);
  std::vector<Matrix<float>> results;
  std::vector<Matrix<double>> grams;
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Matrix<float> C(700, 1100);
    gemm(pool, Op::kNone, Op::kNone, 1.0F, A, B, 0.0F, C);
    results.push_back(C);
    Matrix<double> S(300, 300);
    add_gram(pool, A, S);
    grams.push_back(S);
  }
  for (size_t k = 1; k < results.size(); ++k) {
    EXPECT_TRUE(std::equal(results[0].values().begin(), results[0].values().end(),
                           results[k].values().begin()));
    EXPECT_TRUE(
        std::equal(grams[0].values().begin(), grams[0].values().end(), grams[k].values().begin()));
  }
}

TEST(Linalg, CholeskyAndTriangularProducts) {
  ThreadPool pool(2);
  const int64_t n = 600;
  const auto X = random_matrix<double>(900, n, 5);
  Matrix<double> S(n, n);
  add_gram(pool, X, S);
  Matrix<double> L = S;
  ASSERT_EQ(cholesky(pool, L), -1);
  EXPECT_EQ(L(0, 1), 0.0);
  Matrix<double> product(n, n);
  gemm(pool, Op::kNone, Op::kTranspose, 1.0, L, L, 0.0, product);
  EXPECT_LT(relative_difference(product, S), 1e-13);

  const auto W = random_matrix<double>(270, n, 6);
  Matrix<double> Y(W.rows(), n);
  gemm(pool, Op::kNone, Op::kNone, 1.0, W, L, 0.0, Y);
  solve_right_lower(pool, Op::kNone, L, Y);
  EXPECT_LT(relative_difference(Y, W), 1e-11);
}

TEST(Linalg, ALowerTriangleIsMultipliedByHalves) {
  for (const auto& [m, n] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 255}, {700, 257}, {40, 600}, {0, 5}}) {
    const auto X = random_matrix<float>(m, n, 7);
    auto L = random_matrix<float>(n, n, 8);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) L(i, j) = 0;
    ThreadPool pool(2), alone(1);
    Matrix<float> Y(n, m), again(n, m), product(m, n);
    multiply_lower(pool, X, L, Y.view());
    multiply_lower(alone, X, L, again.view());
    gemm(pool, Op::kNone, Op::kNone, 1.0F, X, L, 0.0F, product);
    EXPECT_TRUE(std::ranges::equal(Y.values(), again.values()));
    for (int64_t k = 0; k < m; ++k)
      for (int64_t j = 0; j < n; ++j)
        ASSERT_NEAR(Y(j, k), product(k, j), 1e-4) << m << " x " << n << ": " << k << ", " << j;
  }
}

TEST(Linalg, CholeskyNamesTheColumnThatFails) {
  ThreadPool pool(1);
  Matrix<double> A(400, 400);
  for (int64_t i = 0; i < 400; ++i) A(i, i) = i == 321 ? -1.0 : 1.0;
  EXPECT_EQ(cholesky(pool, A), 321);
}

TEST(Linalg, QuadraticTrace) {
  ThreadPool pool(2);
  const auto E = random_matrix<double>(40, 600, 7), X = random_matrix<double>(50, 600, 8);
  Matrix<double> S(600, 600);
  add_gram(pool, X, S);
  const auto product = naive_product(E, S, false);
  double expected = 0;
  for (int64_t i = 0; i < E.rows(); ++i)
    for (int64_t j = 0; j < E.cols(); ++j) expected += product(i, j) * E(i, j);
  EXPECT_NEAR(quadratic_trace(pool, E, S) / expected, 1, 1e-13);
  Matrix<float> narrow(40, 600);
  std::ranges::transform(E.values(), narrow.data(), [](double x) { return static_cast<float>(x); });
  EXPECT_NEAR(quadratic_trace(pool, narrow, S) / expected, 1, 1e-6);
}

TEST(Linalg, EigenvaluesOfAKnownSpectrum) {
  Matrix<double> A(3, 3);
  A(0, 0) = 2, A(1, 1) = 2, A(0, 1) = A(1, 0) = 1, A(2, 2) = 5;
  const auto values = symmetric_eigenvalues(A);
  EXPECT_NEAR(values[0], 1, 1e-14);
  EXPECT_NEAR(values[1], 3, 1e-14);
  EXPECT_NEAR(values[2], 5, 1e-14);
}

TEST(Linalg, EigenvectorsRebuildTheMatrix) {
  ThreadPool pool(1);
  const auto X = random_matrix<double>(80, 50, 9);
  Matrix<double> S(50, 50);
  add_gram(pool, X, S);
  const SymmetricEigen eigen = symmetric_eigen(S);
  Matrix<double> scaled = eigen.vectors, product(50, 50);
  for (int64_t i = 0; i < 50; ++i)
    for (double& x : scaled.row(i)) x *= eigen.values[static_cast<size_t>(i)];
  gemm(pool, Op::kTranspose, Op::kNone, 1.0, eigen.vectors, scaled, 0.0, product);
  EXPECT_LT(relative_difference(product, S), 1e-12);
}

}  // namespace
}  // namespace watersic
