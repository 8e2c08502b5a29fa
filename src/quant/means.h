// Small sums that several rooms take of weights, moments and spectra.
#pragma once

#include <algorithm>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

// Of a square matrix, or of a diagonal that stands as one row.
inline double mean_diagonal(MatrixView<const double> A) {
  double mean = 0;
  for (int64_t i = 0; i < A.cols(); ++i)
    mean += (A.rows() == 1 ? A(0, i) : A(i, i)) / static_cast<double>(A.cols());
  return mean;
}

inline double mean_square(MatrixView<const float> W) {
  double mean = 0;
  for (int64_t k = 0; k < W.rows(); ++k)
    for (const float w : W.row(k))
      mean += static_cast<double>(w) * w / static_cast<double>(W.size());
  return mean;
}

// Rising, negative values (rounding) as 0, neighbours taken together by their mean so that at most
// `most` are left.
inline std::vector<double> thinned(std::vector<double> values, size_t most) {
  std::sort(values.begin(), values.end());
  const size_t groups = std::min(most, values.size());
  std::vector<double> out;
  for (size_t g = 0; g < groups; ++g) {
    const size_t begin = g * values.size() / groups, end = (g + 1) * values.size() / groups;
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += std::max(0.0, values[i]);
    out.push_back(sum / static_cast<double>(end - begin));
  }
  return out;
}

}  // namespace watersic
