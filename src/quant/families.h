// Layers for tests and for measurements: the families on which results are pinned (tests/results).
// The same numbers on every machine, up to the rounding of libm.
#pragma once

#include <string>
#include <vector>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

struct LayerData {
  Matrix<float> W;   // a x n
  Matrix<double> S;  // n x n
};

// The names that make_layer knows:
//   white           S = I, Gaussian weights
//   powerlaw        eigenvalues 1/i in a random basis, Gaussian weights
//   ar1             S_ij = 0.97^|i-j|, Gaussian weights
//   lognormal_diag  diagonal S, the logarithms of its entries N(0, 1.5^2), Gaussian weights
//   hard            Laplace weights with rows of unequal scale; features of unequal scale in a
//   nearly
//                   singular covariance, twelve of them dead
const std::vector<std::string>& layer_families();
// Throws Error for a name that is none.
LayerData make_layer(ThreadPool& pool, const std::string& name, int64_t rows, int64_t cols,
                     uint64_t seed);

}  // namespace watersic
