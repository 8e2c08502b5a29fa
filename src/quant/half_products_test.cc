#include "quant/half_products.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/random_matrix.h"

namespace watersic {
namespace {

template <class T>
Matrix<T> symmetric(int64_t n, uint64_t seed) {
  Matrix<T> out = random_matrix<T>(n, n, seed);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) out(j, i) = out(i, j);
  return out;
}

template <class T>
void expect_forms(double tolerance) {
  ThreadPool pool(2);
  for (const int64_t n : {1, 3, 511, 512, 513, 1100}) {
    const int64_t m = 7;
    const Matrix<T> X = random_matrix<T>(m, n, 1), S = symmetric<T>(n, 2);
    const Matrix<T> G = symmetric<T>(m, 3);
    Matrix<T> XS(m, n), GX(m, n);
    gemm(pool, Op::kNone, Op::kNone, T{1}, X, S, T{0}, XS.view());
    gemm(pool, Op::kNone, Op::kNone, T{1}, G, X, T{0}, GX.view());
    std::vector<double> expected(static_cast<size_t>(m)), forms(expected.size());
    double expected_trace = 0, trace = 0;
    for (int64_t k = 0; k < m; ++k) {
      for (int64_t i = 0; i < n; ++i) {
        expected[static_cast<size_t>(k)] += static_cast<double>(X(k, i)) * XS(k, i);
        expected_trace += static_cast<double>(GX(k, i)) * XS(k, i);
      }
    }
    int64_t next = 0;
    half_products<T>(pool, X, S, [&](int64_t left, const Matrix<T>& XP) {
      EXPECT_EQ(left, next);
      next += XP.cols();
      for (int64_t k = 0; k < m; ++k) {
        for (int64_t i = 0; i < XP.cols(); ++i) {
          forms[static_cast<size_t>(k)] += static_cast<double>(X(k, left + i)) * XP(k, i);
          trace += static_cast<double>(GX(k, left + i)) * XP(k, i);
        }
      }
    });
    EXPECT_EQ(next, n);
    const double size = static_cast<double>(n) * static_cast<double>(n);
    for (size_t k = 0; k < forms.size(); ++k)
      EXPECT_NEAR(forms[k], expected[k], tolerance * size) << n << " " << k;
    EXPECT_NEAR(trace, expected_trace, 10 * tolerance * size) << n;
  }
}

TEST(HalfProducts, AreQuadraticForms) {
  expect_forms<double>(1e-12);
  expect_forms<float>(1e-5);
}

}  // namespace
}  // namespace watersic
