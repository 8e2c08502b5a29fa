#include "model/orthonormal.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "linalg/blas.h"
#include "watersic/error.h"

namespace watersic {
namespace {

Matrix<float> random_rows(int64_t n) {
  Rng rng(3);
  Matrix<float> rows(n, n);
  for (float& x : rows.values()) x = static_cast<float>(rng.normal());
  return rows;
}

TEST(Orthonormal, RowsAreUnitsAtRightAnglesAndSpanTheSame) {
  ThreadPool pool(2);
  const int64_t n = 67;
  const Matrix<float> rows = random_rows(n), Q = orthonormal_rows(pool, rows);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double gram = 0, triangle = 0;
      for (int64_t k = 0; k < n; ++k) {
        gram += static_cast<double>(Q(i, k)) * Q(j, k);
        triangle += static_cast<double>(rows(i, k)) * Q(j, k);
      }
      EXPECT_NEAR(gram, i == j, 1e-6);
      if (j > i) {
        EXPECT_NEAR(triangle, 0, 1e-5);
      } else if (j == i) {
        EXPECT_GT(triangle, 0);
      }
    }
  }
}

TEST(Orthonormal, DoesNotDependOnTheThreads) {
  ThreadPool one(1), three(3);
  const Matrix<float> rows = random_rows(100);
  EXPECT_TRUE(std::ranges::equal(orthonormal_rows(one, rows).values(),
                                 orthonormal_rows(three, rows).values()));
}

TEST(Orthonormal, RefusesRowsThatAreNotIndependent) {
  ThreadPool pool(1);
  Matrix<float> rows = random_rows(8);
  std::ranges::copy(rows.row(2), rows.row(5).begin());
  EXPECT_THROW(orthonormal_rows(pool, rows), Error);
}

}  // namespace
}  // namespace watersic
