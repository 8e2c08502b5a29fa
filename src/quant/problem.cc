#include "quant/problem.h"

#include <algorithm>

namespace watersic {

LiveSet find_live(MatrixView<const double> S, double threshold) {
  const int64_t n = S.cols();
  std::vector<double> diagonal(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) diagonal[static_cast<size_t>(j)] = S(j, j);
  double median = 0;
  if (n > 0) {
    std::vector<double> sorted = diagonal;
    std::sort(sorted.begin(), sorted.end());
    const auto middle = static_cast<size_t>(n / 2);
    median = n % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
  LiveSet columns;
  for (int64_t j = 0; j < n; ++j) {
    const double s = diagonal[static_cast<size_t>(j)];
    (s <= 0 || s < threshold * median ? columns.dead : columns.live)
        .push_back(static_cast<int32_t>(j));
  }
  return columns;
}

Matrix<float> live_columns(MatrixView<const float> W, const LiveSet& columns) {
  Matrix<float> out(W.rows(), static_cast<int64_t>(columns.live.size()));
  for (int64_t k = 0; k < W.rows(); ++k)
    for (int64_t i = 0; i < out.cols(); ++i) out(k, i) = W(k, columns.live[static_cast<size_t>(i)]);
  return out;
}

namespace {

template <class T>
Matrix<T> block_of(ThreadPool& pool, MatrixView<const T> S, const LiveSet& columns) {
  const auto live = static_cast<int64_t>(columns.live.size());
  Matrix<T> out(live, live);
  pool.parallel_for(live, [&](int64_t i) {
    const auto from = S.row(columns.live[static_cast<size_t>(i)]);
    for (int64_t j = 0; j < live; ++j)
      out(i, j) = from[static_cast<size_t>(columns.live[static_cast<size_t>(j)])];
  });
  return out;
}

template <class T>
MatrixView<const T> view_of(ThreadPool& pool, MatrixView<const T> S, const LiveSet& columns,
                            Matrix<T>& room) {
  const bool whole = std::ssize(columns.live) == S.rows() && std::ranges::is_sorted(columns.live);
  if (whole) return S;
  room = block_of(pool, S, columns);
  return room;
}

}  // namespace

Matrix<double> live_block(ThreadPool& pool, MatrixView<const double> S, const LiveSet& columns) {
  return block_of(pool, S, columns);
}
MatrixView<const double> live_view(ThreadPool& pool, MatrixView<const double> S,
                                   const LiveSet& columns, Matrix<double>& room) {
  return view_of(pool, S, columns, room);
}
MatrixView<const float> live_view(ThreadPool& pool, MatrixView<const float> S,
                                  const LiveSet& columns, Matrix<float>& room) {
  return view_of(pool, S, columns, room);
}

}  // namespace watersic
