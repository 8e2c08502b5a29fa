#include "model/orthonormal.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "watersic/error.h"

namespace watersic {
namespace {

// Eight sums, of every eighth product each, added up in order: what a processor can do at once.
double dot(std::span<const double> a, std::span<const double> b) {
  std::array<double, 8> sums = {};
  size_t i = 0;
  for (; i + 8 <= a.size(); i += 8)
    for (size_t l = 0; l < 8; ++l) sums[l] += a[i + l] * b[i + l];
  for (size_t l = 0; i < a.size(); ++i, ++l) sums[l] += a[i] * b[i];
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

}  // namespace

Matrix<float> orthonormal_rows(ThreadPool& pool, MatrixView<const float> rows) {
  constexpr int64_t kTile = 32;
  const int64_t n = rows.rows();
  Matrix<double> Q(n, rows.cols());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < rows.cols(); ++j) Q(i, j) = static_cast<double>(rows(i, j));
  for (int64_t i = 0; i < n; ++i) {
    const auto axis = Q.row(i);
    const double length = std::sqrt(dot(axis, axis));
    if (!(length > 1e-6))
      throw Error(fmt::format("expected independent rows, found row {} in the span of others", i));
    for (double& x : axis) x /= length;
    pool.parallel_for(tile_count(n - i - 1, kTile), [&](int64_t tile) {
      const int64_t from = i + 1 + tile * kTile;
      for (int64_t k = from; k < std::min(n, from + kTile); ++k) {
        const auto row = Q.row(k);
        const double along = dot(axis, row);
        for (size_t j = 0; j < row.size(); ++j) row[j] -= along * axis[j];
      }
    });
  }
  Matrix<float> out(n, rows.cols());
  for (size_t i = 0; i < out.values().size(); ++i)
    out.values()[i] = static_cast<float>(Q.values()[i]);
  return out;
}

Matrix<float> stream_from_axes(ThreadPool& pool, MatrixView<const float> axes) {
  const Matrix<float> rows = orthonormal_rows(pool, axes);
  Matrix<float> out(rows.cols(), rows.rows());
  for (int64_t i = 0; i < rows.rows(); ++i)
    for (int64_t j = 0; j < rows.cols(); ++j) out(j, i) = rows(i, j);
  return out;
}

}  // namespace watersic
