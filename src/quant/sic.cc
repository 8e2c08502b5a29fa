#include "quant/sic.h"

#include <algorithm>

#include "linalg/blas.h"

namespace watersic {
namespace {

// Below this many columns, errors are carried column by column; above, by one matrix product.
constexpr int64_t kLeaf = 32;

template <class T>
class Loop {
 public:
  Loop(ThreadPool& pool, MatrixView<const T> L, MatrixView<T> Yt, ColumnQuantizer<T>& quantizer,
       MatrixView<int32_t> Zt)
      : pool_(pool), L_(L), Yt_(Yt), quantizer_(quantizer), Zt_(Zt) {}

  // Quantizes columns [lo, hi). Halving makes the products large and keeps a half in cache: the
  // later half is done, its error is carried to the earlier half at once, then that is done.
  void run(int64_t lo, int64_t hi) {
    if (hi - lo <= kLeaf) {
      for (int64_t i = hi - 1; i >= lo; --i) {
        quantizer_.quantize(i, Yt_.row(i), Zt_.row(i));
        carry_within_leaf(lo, i);
      }
      return;
    }
    const int64_t middle = (lo + hi) / 2;
    run(middle, hi);
    carry(middle, hi, lo, middle);
    run(lo, middle);
  }

  // Y[:, lo..middle) -= V[:, middle..hi) L[middle..hi, lo..middle)
  void carry(int64_t from, int64_t to, int64_t lo, int64_t hi) {
    if (lo == hi) return;
    gemm(pool_, Op::kTranspose, Op::kNone, T{-1}, L_.block(from, lo, to - from, hi - lo),
         Yt_.block(from, 0, to - from, Yt_.cols()), T{1}, Yt_.block(lo, 0, hi - lo, Yt_.cols()));
  }

 private:
  void carry_within_leaf(int64_t lo, int64_t i) {
    const int64_t rows = Yt_.cols();
    pool_.parallel_for(tile_count(rows, kRowTile), [&](int64_t tile) {
      const int64_t begin = tile * kRowTile, end = std::min(rows, begin + kRowTile);
      const T* v = Yt_.row(i).data();
      for (int64_t j = lo; j < i; ++j) {
        const T l = L_(i, j);
        T* y = Yt_.row(j).data();
        for (int64_t k = begin; k < end; ++k) y[k] -= l * v[k];
      }
    });
  }

  ThreadPool& pool_;
  MatrixView<const T> L_;
  MatrixView<T> Yt_;
  ColumnQuantizer<T>& quantizer_;
  MatrixView<int32_t> Zt_;
};

}  // namespace

template <class T>
void cancel_successively(ThreadPool& pool, MatrixView<const T> L, MatrixView<T> Yt, int64_t panel,
                         ColumnQuantizer<T>& quantizer, MatrixView<int32_t> Zt) {
  const int64_t n = Yt.rows();
  assert(L.rows() == n && L.cols() == n && Zt.rows() == n);
  Loop<T> loop(pool, L, Yt, quantizer, Zt);
  if (panel <= 0) panel = std::max<int64_t>(n, 1);
  for (int64_t hi = n; hi > 0; hi -= panel) {
    const int64_t lo = std::max<int64_t>(0, hi - panel);
    quantizer.begin_panel(lo, hi, Yt.block(lo, 0, hi - lo, Yt.cols()),
                          L.block(lo, lo, hi - lo, hi - lo));
    loop.run(lo, hi);
    loop.carry(lo, hi, 0, lo);
  }
}

template void cancel_successively(ThreadPool&, MatrixView<const float>, MatrixView<float>, int64_t,
                                  ColumnQuantizer<float>&, MatrixView<int32_t>);
template void cancel_successively(ThreadPool&, MatrixView<const double>, MatrixView<double>,
                                  int64_t, ColumnQuantizer<double>&, MatrixView<int32_t>);

}  // namespace watersic
