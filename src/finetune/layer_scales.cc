#include "finetune/layer_scales.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "base/half.h"
#include "base/rotation.h"
#include "base/strands.h"

namespace watersic {
namespace {

constexpr int64_t kRowTile = 64;

// Scales are stored without the zeros that all of them end with: so many are kept at zero. One
// scale alone has its full precision.
int common_zeros(const std::vector<uint16_t>& half) {
  if (half.size() < 2) return 0;
  unsigned all = 0x400;  // of the ten bits of the mantissa
  for (const uint16_t h : half) all |= h;
  return std::countr_zero(all);
}

}  // namespace

LayerScales::Set::Set(const Scales& scales)
    : stored(scales), now(scales), zeros(common_zeros(scales.half)) {}

// The weights are proportional to the scale as it is rounded, which moves with its factor as the
// stored scale.
void LayerScales::Set::add_gradient(std::span<const double> logarithmic,
                                    std::span<double> gradient) const {
  for (size_t i = 0; i < count(); ++i) {
    const auto scale = static_cast<double>(now.value(static_cast<int64_t>(i)));
    if (scale == 0) continue;
    gradient[i] +=
        logarithmic[i] * static_cast<double>(stored.value(static_cast<int64_t>(i))) / scale;
  }
}

LayerScales::LayerScales(const QuantizedTensor& tensor)
    : rows_(tensor.rows),
      cols_(tensor.cols),
      groups_(tensor.groups),
      rotation_(tensor.rotation),
      strands_(tensor.strands),
      row_order_(tensor.bitshift.row_order),
      column_group_(tensor.column_group),
      row_(tensor.row_scale),
      column_(tensor.column_scale),
      group_(tensor.group_scale) {
  auto dead = tensor.dead.begin();
  for (int64_t j = 0; j < cols_; ++j) {
    if (dead != tensor.dead.end() && *dead == j) {
      ++dead;
    } else {
      live_.push_back(j);
    }
  }
}

size_t LayerScales::count() const { return row_.count() + column_.count() + group_.count(); }

void LayerScales::set(std::span<const double> factors) {
  assert(factors.size() == count());
  size_t next = 0;
  for (Set* set : {&row_, &column_, &group_}) {
    for (size_t i = 0; i < set->count(); ++i, ++next) {
      const double half = static_cast<double>(float_from_half(set->stored.half[i]));
      set->now.half[i] = half_with_zeros(static_cast<float>(half * factors[next]), set->zeros);
    }
  }
}

bool LayerScales::changed() const {
  return row_.now.half != row_.stored.half || column_.now.half != column_.stored.half ||
         group_.now.half != group_.stored.half;
}

void LayerScales::apply(QuantizedTensor& tensor) const {
  assert(tensor.rows == rows_ && tensor.cols == cols_);
  tensor.row_scale = row_.now;
  tensor.column_scale = column_.now;
  tensor.group_scale = group_.now;
}

// V is a product of its scales: a scale's derivative times the scale, its logarithm's, is the sum
// of dV V over the weights that it serves.
void LayerScales::add_gradient(ThreadPool& pool, MatrixView<const float> V,
                               MatrixView<const float> dV, std::span<double> gradient) const {
  assert(V.rows() == rows_ && V.cols() == cols_ && gradient.size() == count());
  const auto live = static_cast<int64_t>(live_.size());
  const int64_t tiles = tile_count(rows_, kRowTile);
  std::vector<double> rows(static_cast<size_t>(rows_)), groups(group_.count());
  Matrix<double> columns(tiles, live);  // the sum over each tile's rows
  pool.parallel_for(tiles, [&](int64_t tile) {
    std::vector<float> v(static_cast<size_t>(cols_)), dv = v;
    const auto column = columns.row(tile);
    for (int64_t k = tile * kRowTile; k < std::min(rows_, (tile + 1) * kRowTile); ++k) {
      const int64_t row =
          row_order_.empty() ? strand_row(k, rows_, strands_) : row_order_[static_cast<size_t>(k)];
      std::ranges::copy(V.row(row), v.begin());
      std::ranges::copy(dV.row(row), dv.begin());
      if (rotation_ != 0) {  // what the scales multiply is V R
        const RandomRotation rotation(cols_, rotation_);
        rotation.apply(std::span(v));
        rotation.apply(std::span(dv));
      }
      double sum = 0;
      for (int64_t i = 0; i < live; ++i) {
        const auto j = static_cast<size_t>(live_[static_cast<size_t>(i)]);
        const double product = static_cast<double>(v[j]) * static_cast<double>(dv[j]);
        sum += product;
        column[static_cast<size_t>(i)] += product;
        if (groups_ > 0) {
          const int64_t group = column_group_[static_cast<size_t>(i)];
          groups[static_cast<size_t>(k * groups_ + group)] += product;
        }
      }
      rows[static_cast<size_t>(k)] = sum;
    }
  });
  for (int64_t tile = 1; tile < tiles; ++tile)
    for (int64_t i = 0; i < live; ++i) columns(0, i) += columns(tile, i);
  std::vector<double> all(columns.values().begin(), columns.values().begin() + live);
  // A scale that serves everything.
  const auto gathered = [](std::vector<double> each, size_t count) {
    if (count != 1) return each;
    double sum = 0;
    for (const double x : each) sum += x;
    return std::vector{sum};
  };
  rows = gathered(std::move(rows), row_.count());
  all = gathered(std::move(all), column_.count());
  row_.add_gradient(rows, gradient.first(row_.count()));
  column_.add_gradient(all, gradient.subspan(row_.count(), column_.count()));
  group_.add_gradient(groups, gradient.last(group_.count()));
}

}  // namespace watersic
