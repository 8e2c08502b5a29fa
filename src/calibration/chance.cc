#include "calibration/chance.h"

#include <algorithm>

namespace watersic {
namespace {

template <class T>
double shrink(MatrixView<const T> contrast, MatrixView<T> S) {
  double chance = 0, energy = 0;
  for (int64_t i = 0; i < S.rows(); ++i) {
    for (int64_t j = 0; j < i; ++j) {
      const double scale = double{S(i, i)} * double{S(j, j)};
      if (!(scale > 0)) continue;
      chance += double{contrast(i, j)} * double{contrast(i, j)} / scale;
      energy += double{S(i, j)} * double{S(i, j)} / scale;
    }
  }
  const double lambda = energy > 0 ? std::min(1.0, chance / energy) : 0;
  const auto kept = static_cast<T>(1 - lambda);
  for (int64_t i = 0; i < S.rows(); ++i)
    for (int64_t j = 0; j < S.cols(); ++j)
      if (i != j) S(i, j) *= kept;
  return lambda;
}

}  // namespace

double shrink_correlations(MatrixView<const double> contrast, MatrixView<double> S) {
  return shrink(contrast, S);
}
double shrink_correlations(MatrixView<const float> contrast, MatrixView<float> S) {
  return shrink(contrast, S);
}

}  // namespace watersic
