#include "calibration/halves.h"

#include <algorithm>
#include <vector>

namespace watersic {

RowRange rows_in(int half, Half batch, int64_t rows) {
  const int64_t middle = (rows + 1) / 2;
  if (batch == Half::kBoth)
    return half == 0 ? RowRange{0, middle} : RowRange{middle, rows - middle};
  return (batch == Half::kFirst) == (half == 0) ? RowRange{0, rows} : RowRange{};
}

void Halves::gather(int half, std::span<double> values) const {
  if (apart()) broadcast<double>(ranks_, half, values);
}

template <class T>
void Halves::gather_from(int first, int stride, Matrix<T>& S, bool symmetric) const {
  if (ranks_.alone()) return;
  int64_t shape[] = {S.rows(), S.cols()};
  broadcast<int64_t>(ranks_, first, shape);
  const int64_t m = shape[0], n = shape[1];
  if (m == 0) return;
  if (S.empty()) S = Matrix<T>(m, n);
  const int64_t count = symmetric ? gram_tiles(n) : cross_tiles(m, n);
  const auto tile_of = [&](int64_t t) { return symmetric ? gram_tile(n, t) : cross_tile(m, n, t); };
  for (int rank = first; rank < ranks_.size(); rank += stride) {
    const TileShare share{rank / stride, ranks_.size() / stride};
    size_t size = 0;
    for (int64_t t = share.mine; t < count; t += share.sharers)
      size += static_cast<size_t>(tile_of(t).rows * tile_of(t).cols);
    std::vector<T> values(size);
    // body(the row's place in `values`, the row, its length)
    const auto each_row = [&](const auto& body) {
      T* at = values.data();
      for (int64_t t = share.mine; t < count; t += share.sharers) {
        const Tile tile = tile_of(t);
        for (int64_t i = tile.row; i < tile.row + tile.rows; ++i, at += tile.cols)
          body(at, &S(i, tile.col), tile.cols);
      }
    };
    const bool mine = rank == ranks_.rank();
    if (mine)
      each_row([](T* packed, const T* row, int64_t length) { std::copy_n(row, length, packed); });
    broadcast<T>(ranks_, rank, values);
    if (mine) continue;
    each_row([](const T* packed, T* row, int64_t length) { std::copy_n(packed, length, row); });
    for (int64_t t = share.mine; symmetric && t < count; t += share.sharers)
      mirror_tile(S.view(), tile_of(t));
  }
}

template void Halves::gather_from(int, int, Matrix<float>&, bool) const;
template void Halves::gather_from(int, int, Matrix<double>&, bool) const;

}  // namespace watersic
