#include "calibration/gather_sums.h"

#include <algorithm>
#include <vector>

namespace watersic {
namespace {

// `tile_of(t)`, of `count` tiles.
template <class T, class TileFn>
void gather(const Communicator& ranks, Matrix<T>& S, int64_t count, bool symmetric,
            const TileFn& tile_of) {
  if (ranks.alone() || S.empty()) return;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    size_t size = 0;
    for (int64_t t = rank; t < count; t += ranks.size())
      size += static_cast<size_t>(tile_of(t).rows * tile_of(t).cols);
    std::vector<T> values(size);
    // body(the row's place in `values`, the row, its length)
    const auto each_row = [&](const auto& body) {
      T* at = values.data();
      for (int64_t t = rank; t < count; t += ranks.size()) {
        const Tile tile = tile_of(t);
        for (int64_t i = tile.row; i < tile.row + tile.rows; ++i, at += tile.cols)
          body(at, &S(i, tile.col), tile.cols);
      }
    };
    const bool mine = rank == ranks.rank();
    if (mine)
      each_row([](T* packed, const T* row, int64_t length) { std::copy_n(row, length, packed); });
    broadcast<T>(ranks, rank, values);
    if (mine) continue;
    each_row([](const T* packed, T* row, int64_t length) { std::copy_n(packed, length, row); });
    for (int64_t t = rank; symmetric && t < count; t += ranks.size())
      mirror_tile(S.view(), tile_of(t));
  }
}

template <class T>
void gather_symmetric(const Communicator& ranks, Matrix<T>& S) {
  const int64_t n = S.rows();
  gather(ranks, S, gram_tiles(n), true, [n](int64_t t) { return gram_tile(n, t); });
}

template <class T>
void gather_all(const Communicator& ranks, Matrix<T>& S) {
  const int64_t m = S.rows(), n = S.cols();
  gather(ranks, S, cross_tiles(m, n), false, [m, n](int64_t t) { return cross_tile(m, n, t); });
}

}  // namespace

void gather_gram(const Communicator& ranks, Matrix<float>& S) { gather_symmetric(ranks, S); }
void gather_gram(const Communicator& ranks, Matrix<double>& S) { gather_symmetric(ranks, S); }
void gather_cross(const Communicator& ranks, Matrix<float>& S) { gather_all(ranks, S); }
void gather_cross(const Communicator& ranks, Matrix<double>& S) { gather_all(ranks, S); }

}  // namespace watersic
