#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_exceptions.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/packed_exceptions.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DE = hn::CappedTag<float, kExceptionTokens>;

// sums[t] += scale * x[t].
HWY_INLINE void AddScaled(float scale, const float* HWY_RESTRICT x, float* HWY_RESTRICT sums) {
  const DE d;
  const auto s = hn::Set(d, scale);
  for (int64_t t = 0; t < kExceptionTokens; t += static_cast<int64_t>(hn::Lanes(d)))
    hn::StoreU(hn::Add(hn::LoadU(d, sums + t), hn::Mul(s, hn::LoadU(d, x + t))), d, sums + t);
}

// Calls add(scale, column) for a tile's exceptions, after those of a row finish(row of the tile).
template <class Add, class Finish>
HWY_INLINE void ForEachException(const PackedMatrix& M, int64_t tile, const Add& add,
                                 const Finish& finish) {
  const PackedException* at = M.exceptions.data() + M.exception_begin[static_cast<size_t>(tile)];
  const PackedException* end =
      M.exceptions.data() + M.exception_begin[static_cast<size_t>(tile + 1)];
  while (at < end) {
    const int64_t row = at->row();
    const float* group = M.groups == 0 ? nullptr : M.group_scale.data() + row;
    for (; at < end && at->row() == row; ++at) {
      const auto column = static_cast<size_t>(at->column());
      float scale = M.column_scale[column];
      if (group != nullptr)
        scale *= group[(tile * M.groups + M.column_group[column]) * kPackedRows];
      add(at->value * scale, at->column());
    }
    finish(row);
  }
}

void ExceptionsOfOne(const PackedMatrix& M, int64_t tile, const float* x, float* out) {
  float sum = 0;
  ForEachException(
      M, tile, [&](float scale, int64_t column) { sum += scale * x[column]; },
      [&](int64_t row) {
        out[row] += sum;
        sum = 0;
      });
}

void ExceptionsOfMany(const PackedMatrix& M, int64_t tile, const ColumnInputs& x, int64_t token,
                      int64_t tokens, float* out) {
  std::array<float, kExceptionTokens> sums{};
  ForEachException(
      M, tile,
      [&](float scale, int64_t column) { AddScaled(scale, x.at(token, column), sums.data()); },
      [&](int64_t row) {
        for (int64_t t = 0; t < tokens; ++t)
          out[t * kPackedRows + row] += sums[static_cast<size_t>(t)];
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
    : columns_(X.cols()),
      values_(tile_count(X.rows(), kExceptionTokens) * X.cols(), kExceptionTokens) {
  constexpr int64_t kColumns = 64;  // of a task
  const int64_t across = tile_count(X.cols(), kColumns);
  pool.parallel_for(tile_count(X.rows(), kExceptionTokens) * across, [&](int64_t task) {
    const int64_t token = task / across * kExceptionTokens;
    const int64_t tokens = std::min(kExceptionTokens, X.rows() - token);
    const int64_t first = task % across * kColumns, end = std::min(X.cols(), first + kColumns);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = first; j < end; ++j)
        values_(task / across * columns_ + j, t) = X(token + t, j);
  });
}

void add_exceptions(const PackedMatrix& M, int64_t tile, std::span<const float> x,
                    std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(ExceptionsOfOne)(M, tile, x.data(), out.data());
}

void add_exceptions(const PackedMatrix& M, int64_t tile, const ColumnInputs& x, int64_t token,
                    int64_t tokens, std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(ExceptionsOfMany)(M, tile, x, token, tokens, out.data());
}

}  // namespace watersic
#endif
