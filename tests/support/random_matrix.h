// Matrices of independent Gaussians.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "watersic/matrix.h"

namespace watersic {

template <class T>
Matrix<T> random_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  Rng rng(seed);
  Matrix<T> A(rows, cols);
  for (T& x : A.values()) x = static_cast<T>(rng.normal());
  return A;
}

}  // namespace watersic
