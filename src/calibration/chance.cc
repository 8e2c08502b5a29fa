#include "calibration/chance.h"

#include <algorithm>
#include <vector>

namespace watersic {
namespace {

template <class T>
double shrink(ThreadPool& pool, MatrixView<const T> contrast, MatrixView<T> S) {
  struct Sums {
    double chance = 0, energy = 0;
  };
  const int64_t n = S.rows();
  std::vector<Sums> sums(static_cast<size_t>(n));  // by row, below the diagonal
  pool.parallel_for(n, [&](int64_t i) {
    Sums& sum = sums[static_cast<size_t>(i)];
    for (int64_t j = 0; j < i; ++j) {
      const double scale = double{S(i, i)} * double{S(j, j)};
      if (!(scale > 0)) continue;
      sum.chance += double{contrast(i, j)} * double{contrast(i, j)} / scale;
      sum.energy += double{S(i, j)} * double{S(i, j)} / scale;
    }
  });
  Sums all;
  for (const Sums& sum : sums) {
    all.chance += sum.chance;
    all.energy += sum.energy;
  }
  const double lambda = all.energy > 0 ? std::min(1.0, all.chance / all.energy) : 0;
  const auto kept = static_cast<T>(1 - lambda);
  pool.parallel_for(n, [&](int64_t i) {
    for (int64_t j = 0; j < n; ++j)
      if (i != j) S(i, j) *= kept;
  });
  return lambda;
}

}  // namespace

double shrink_correlations(ThreadPool& pool, MatrixView<const double> contrast,
                           MatrixView<double> S) {
  return shrink(pool, contrast, S);
}
double shrink_correlations(ThreadPool& pool, MatrixView<const float> contrast,
                           MatrixView<float> S) {
  return shrink(pool, contrast, S);
}

}  // namespace watersic
