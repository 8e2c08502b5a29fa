#include "calibration/chance.h"

#include <algorithm>

namespace watersic {

double shrink_correlations(MatrixView<const double> contrast, Matrix<double>& S) {
  double chance = 0, energy = 0;
  for (int64_t i = 0; i < S.rows(); ++i) {
    for (int64_t j = 0; j < i; ++j) {
      const double scale = S(i, i) * S(j, j);
      if (!(scale > 0)) continue;
      chance += contrast(i, j) * contrast(i, j) / scale;
      energy += S(i, j) * S(i, j) / scale;
    }
  }
  const double lambda = energy > 0 ? std::min(1.0, chance / energy) : 0;
  for (int64_t i = 0; i < S.rows(); ++i)
    for (int64_t j = 0; j < S.cols(); ++j)
      if (i != j) S(i, j) *= 1 - lambda;
  return lambda;
}

}  // namespace watersic
