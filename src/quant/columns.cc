#include "quant/columns.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "linalg/blas.h"
#include "quant/round.h"

namespace watersic {
namespace {

// Calls body(tile, begin, end) over tiles of rows.
template <class Body>
void over_rows(ThreadPool& pool, int64_t rows, const Body& body) {
  pool.parallel_for(tile_count(rows, kRowTile), [&](int64_t tile) {
    body(static_cast<size_t>(tile), tile * kRowTile, std::min(rows, (tile + 1) * kRowTile));
  });
}

struct Sums {
  double zy = 0, zz = 0;
};

// <z, y> and |z|^2 of one tile, with four running sums so that they vectorise in a fixed order.
template <class T>
Sums tile_sums(const int32_t* z, const T* y, int64_t count) {
  double zy[4] = {}, zz[4] = {};
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) {
    for (int64_t lane = 0; lane < 4; ++lane) {
      const double integer = z[k + lane];
      zy[lane] += integer * static_cast<double>(y[k + lane]);
      zz[lane] += integer * integer;
    }
  }
  for (; k < count; ++k) {
    zy[0] += static_cast<double>(z[k]) * static_cast<double>(y[k]);
    zz[0] += static_cast<double>(z[k]) * z[k];
  }
  return {(zy[0] + zy[1]) + (zy[2] + zy[3]), (zz[0] + zz[1]) + (zz[2] + zz[3])};
}

}  // namespace

template <class T>
ZsicQuantizer<T>::ZsicQuantizer(ThreadPool& pool, Rounder& rounder, double c, bool lmmse,
                                std::vector<double> diagonal)
    : pool_(pool),
      rounder_(rounder),
      c_(c),
      lmmse_(lmmse),
      diagonal_(std::move(diagonal)),
      g_(diagonal_.size(), 1.0) {}

template <class T>
std::vector<double> ZsicQuantizer<T>::alpha() const {
  std::vector<double> alpha(diagonal_.size());
  for (size_t i = 0; i < alpha.size(); ++i) alpha[i] = c_ / diagonal_[i];
  return alpha;
}

template <class T>
void ZsicQuantizer<T>::quantize(int64_t i, std::span<T> y, std::span<int32_t> z) {
  const auto rows = static_cast<int64_t>(y.size());
  rounder_.round<T>(i, y, c_, z);
  const auto column = static_cast<size_t>(i);
  if (lmmse_) {
    std::vector<Sums> partial(static_cast<size_t>(tile_count(rows, kRowTile)));
    over_rows(pool_, rows, [&](size_t tile, int64_t begin, int64_t end) {
      partial[tile] = tile_sums(z.data() + begin, y.data() + begin, end - begin);
    });
    Sums sums;
    for (const Sums& s : partial) {
      sums.zy += s.zy;
      sums.zz += s.zz;
    }
    g_[column] = sums.zz > 0 ? sums.zy / (c_ * rounder_.unit() * sums.zz) : 0.0;
  }
  const T step = static_cast<T>(g_[column] * c_ * rounder_.unit() / diagonal_[column]);
  over_rows(pool_, rows, [&](size_t, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) y.data()[k] = step * static_cast<T>(z.data()[k]);
  });
}

template <class T>
UniformQuantizer<T>::UniformQuantizer(ThreadPool& pool, Rounder& rounder, double step,
                                      std::vector<double> diagonal)
    : pool_(pool), rounder_(rounder), step_(step), diagonal_(std::move(diagonal)) {}

template <class T>
void UniformQuantizer<T>::quantize(int64_t i, std::span<T> y, std::span<int32_t> z) {
  rounder_.round<T>(i, y, step_ * diagonal_[static_cast<size_t>(i)], z);
  const T step = static_cast<T>(step_ * rounder_.unit());
  over_rows(pool_, static_cast<int64_t>(y.size()), [&](size_t, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) y.data()[k] = step * static_cast<T>(z.data()[k]);
  });
}

double grid_scale(double largest, int bits, int exponent) {
  const double scale = round_to_half(2 * largest / (std::exp2(bits) - 1), exponent);
  return scale > 0 ? scale : 1.0;
}

template <class T>
T on_grid(T w, T scale, int bits) {
  const T half = std::exp2(static_cast<T>(bits - 1));
  return std::min(std::max(round_to_integer(w / scale), -half), half - 1);
}

template <class T>
GridQuantizer<T>::GridQuantizer(ThreadPool& pool, int bits, int exponent,
                                std::vector<double> diagonal)
    : pool_(pool), bits_(bits), exponent_(exponent), diagonal_(std::move(diagonal)) {}

// The weights as they stand: the completion of what is quantized already that fits best, W' with
// W' L = Y. Its last columns need only their own block of L.
template <class T>
void GridQuantizer<T>::begin_panel(int64_t lo, int64_t hi, MatrixView<const T> Y,
                                   MatrixView<const T> L) {
  Matrix<T> W(Y.cols(), hi - lo);
  for (int64_t k = 0; k < W.rows(); ++k)
    for (int64_t i = 0; i < W.cols(); ++i) W(k, i) = Y(i, k);
  solve_right_lower(pool_, Op::kNone, L, W);
  std::vector<T> scale(static_cast<size_t>(W.rows()));
  for (int64_t k = 0; k < W.rows(); ++k) {
    T largest = 0;
    for (const T w : W.row(k)) largest = std::max(largest, std::fabs(w));
    scale[static_cast<size_t>(k)] = static_cast<T>(grid_scale(largest, bits_, exponent_));
  }
  scales_.push_back(std::move(scale));
}

template <class T>
void GridQuantizer<T>::quantize(int64_t i, std::span<T> y, std::span<int32_t> z) {
  const T inverse = static_cast<T>(1.0 / diagonal_[static_cast<size_t>(i)]);
  const T* scale = scales_.back().data();
  over_rows(pool_, static_cast<int64_t>(y.size()), [&](size_t, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const T integer = on_grid(y.data()[k] * inverse, scale[k], bits_);
      z.data()[k] = static_cast<int32_t>(integer);
      y.data()[k] = scale[k] * integer;
    }
  });
}

template class ZsicQuantizer<float>;
template class ZsicQuantizer<double>;
template class UniformQuantizer<float>;
template class UniformQuantizer<double>;
template class GridQuantizer<float>;
template class GridQuantizer<double>;
template float on_grid(float, float, int);
template double on_grid(double, double, int);

}  // namespace watersic
