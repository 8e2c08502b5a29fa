#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tile_exceptions.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/tile_exceptions.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DE = hn::CappedTag<float, kProductTokens>;

// sums[t] += scale * x[t].
HWY_INLINE void AddScaled(float scale, const float* HWY_RESTRICT x, float* HWY_RESTRICT sums) {
  const DE d;
  const auto s = hn::Set(d, scale);
  for (int64_t t = 0; t < kProductTokens; t += static_cast<int64_t>(hn::Lanes(d)))
    hn::StoreU(hn::Add(hn::LoadU(d, sums + t), hn::Mul(s, hn::LoadU(d, x + t))), d, sums + t);
}

// Calls add(scale, column) for a tile's exceptions, after those of a row finish(row of the tile).
template <class Add, class Finish>
HWY_INLINE void ForEachException(const TileExceptions& tile, const Add& add, const Finish& finish) {
  for (size_t i = 0; i < tile.values.size();) {
    const int64_t row = tile.values[i].row();
    for (; i < tile.values.size() && tile.values[i].row() == row; ++i) {
      const int64_t column = tile.values[i].column();
      float scale = tile.column_scale[column];
      if (tile.group_scale != nullptr)
        scale *= tile.group_scale[tile.column_group[column] * kTileRows + row];
      add(tile.values[i].value * scale, column);
    }
    finish(row);
  }
}

void ExceptionsOfOne(const TileExceptions& tile, const float* x, float* out) {
  float sum = 0;
  ForEachException(
      tile, [&](float scale, int64_t column) { sum += scale * x[column]; },
      [&](int64_t row) {
        out[row] += sum;
        sum = 0;
      });
}

void ExceptionsOfMany(const TileExceptions& tile, const ColumnInputs& x, int64_t token,
                      int64_t tokens, float* out) {
  std::array<float, kProductTokens> sums{};
  ForEachException(
      tile,
      [&](float scale, int64_t column) { AddScaled(scale, x.at(token, column), sums.data()); },
      [&](int64_t row) {
        for (int64_t t = 0; t < tokens; ++t)
          out[t * kTileRows + row] += sums[static_cast<size_t>(t)];
        sums.fill(0);
      });
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(ExceptionsOfOne);
HWY_EXPORT(ExceptionsOfMany);

ColumnInputs::ColumnInputs(ThreadPool& pool, MatrixView<const float> X)
    : columns_(X.cols()), values_(tile_count(X.rows(), kProductTokens) * X.cols(), kProductTokens) {
  constexpr int64_t kColumns = 64;  // of a task
  const int64_t across = tile_count(X.cols(), kColumns);
  pool.parallel_for(tile_count(X.rows(), kProductTokens) * across, [&](int64_t task) {
    const int64_t token = task / across * kProductTokens;
    const int64_t tokens = std::min(kProductTokens, X.rows() - token);
    const int64_t first = task % across * kColumns, end = std::min(X.cols(), first + kColumns);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = first; j < end; ++j)
        values_(task / across * columns_ + j, t) = X(token + t, j);
  });
}

void add_exceptions(const TileExceptions& tile, int64_t row, std::span<int32_t> integers) {
  for (const TileException& e : tile.values)
    if (e.row() == row) integers[static_cast<size_t>(e.column())] += static_cast<int32_t>(e.value);
}

void add_exceptions(const TileExceptions& tile, std::span<const float> x, std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(ExceptionsOfOne)(tile, x.data(), out.data());
}

void add_exceptions(const TileExceptions& tile, const ColumnInputs& x, int64_t token,
                    int64_t tokens, std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(ExceptionsOfMany)(tile, x, token, tokens, out.data());
}

}  // namespace watersic
#endif
