// Quadratic forms of symmetric matrices for half of what a product takes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "linalg/blas.h"
#include "watersic/matrix.h"

namespace watersic {

// For X (m x n) and symmetric S (n x n), by blocks of S's columns: body(the first column, X P of
// these), where P, of S what is on and below the diagonal block by block, that below twice, stands
// for S wherever it is multiplied from both sides alike: x P x^T = x S x^T, and
// tr(G X P X^T) = tr(G X S X^T) for symmetric G.
template <class T, class Body>
void half_products(ThreadPool& pool, MatrixView<const T> X, MatrixView<const T> S,
                   const Body& body) {
  constexpr int64_t kCols = 512;
  const int64_t m = X.rows(), n = X.cols();
  for (int64_t left = 0; left < n; left += kCols) {
    const int64_t cols = std::min(kCols, n - left), right = left + cols;
    Matrix<T> XP(m, cols);
    gemm(pool, Op::kNone, Op::kNone, T{1}, X.block(0, left, m, cols),
         S.block(left, left, cols, cols), T{0}, XP.view());
    if (right < n) {
      gemm(pool, Op::kNone, Op::kNone, T{2}, X.block(0, right, m, n - right),
           S.block(right, left, n - right, cols), T{1}, XP.view());
    }
    body(left, XP);
  }
}

}  // namespace watersic
