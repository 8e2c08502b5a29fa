#include "kernels/packed_multiply.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>

#include "base/strands.h"
#include "kernels/packed_exceptions.h"
#include "kernels/packed_inputs.h"
#include "kernels/packed_product.h"

namespace watersic {
namespace {

constexpr int64_t kTaskBytes = 128 << 10;  // of weights at least, in a task

// Writes a tile's outputs for one token.
void finish(const PackedMatrix& M, int64_t tile, std::span<const float> sums,
            std::span<const float> bias, float beta, std::span<float> y) {
  const int64_t first = tile * kPackedRows, rows = std::min(kPackedRows, M.rows - first);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t k = first + r;
    const auto output = static_cast<size_t>(strand_row(k, M.rows, M.strands));
    float value = sums[static_cast<size_t>(r)];
    if (!M.row_scale.empty()) value *= M.row_scale[static_cast<size_t>(k)];
    if (!bias.empty()) value += bias[output];
    y[output] = beta == 0 ? value : value + beta * y[output];
  }
}

template <class Inputs, class Prepare>
void multiply(ThreadPool& pool, const PackedMatrix& M, MatrixView<const float> X,
              const Prepare& prepare, std::span<const float> bias, float beta,
              MatrixView<float> Y) {
  const int64_t tokens = X.rows();
  Inputs inputs(M, tokens);
  pool.parallel_for(tokens, [&](int64_t token) { prepare(M, X.row(token), token, inputs); });
  const int64_t tiles = std::max<int64_t>(1, kTaskBytes / std::max<int64_t>(1, M.tile_bytes));
  static_assert(kProductTokens == kExceptionTokens);
  std::optional<ColumnInputs> by_column;
  if (tokens > 1 && !M.exceptions.empty()) by_column.emplace(pool, X);
  const int64_t across = tile_count(tokens, kProductTokens);
  // All tokens for one part of the weights, then for the next: it is still in the cache.
  pool.parallel_for(tile_count(M.tiles(), tiles) * across, [&](int64_t task) {
    const int64_t token = task % across * kProductTokens;
    const int64_t count = std::min(kProductTokens, tokens - token);
    const int64_t first = task / across * tiles, last = std::min(M.tiles(), first + tiles);
    std::array<float, kProductTokens * kPackedRows> sums;
    for (int64_t tile = first; tile < last; ++tile) {
      packed_product(M, tile, inputs, token, count, sums.data());
      if (by_column) {
        add_exceptions(M, tile, *by_column, token, count, sums);
      } else {
        add_exceptions(M, tile, X.row(token), sums);
      }
      for (int64_t t = 0; t < count; ++t)
        finish(M, tile, std::span(sums).subspan(static_cast<size_t>(t * kPackedRows)), bias, beta,
               Y.row(token + t));
    }
  });
}

}  // namespace

void packed_multiply(ThreadPool& pool, const PackedMatrix& M, MatrixView<const float> X,
                     InputPrecision precision, std::span<const float> bias, float beta,
                     MatrixView<float> Y) {
  assert(X.cols() == M.inputs && Y.rows() == X.rows() && Y.cols() == M.rows);
  if (precision == InputPrecision::kInt8) {
    multiply<QuantizedInputs>(pool, M, X, quantize_inputs, bias, beta, Y);
  } else {
    multiply<FloatInputs>(pool, M, X, scale_inputs, bias, beta, Y);
  }
}

void packed_row(const PackedMatrix& M, int64_t output, std::span<float> out) {
  const int64_t k = strand_row(output, M.rows, M.rows / M.strands);  // the inverse interleaves, too
  const int64_t tile = k / kPackedRows, row = k % kPackedRows;
  std::vector<int32_t> integers(static_cast<size_t>(M.inputs));
  const auto data = M.tile(tile);
  for (const PackedBlock& block : M.blocks) {
    for (int64_t i = 0; i < block.columns(); ++i) {
      const auto v = static_cast<size_t>(block.column + i);
      const auto quad =
          data.subspan(static_cast<size_t>(block.offset + i / 4 * quad_bytes(block.width)));
      const int32_t digit = packed_value(quad, block.width, row, i % 4) + M.base[v];
      if (M.scale[v] != 0) integers[static_cast<size_t>(M.source[v])] += digit * (1 << M.shift[v]);
    }
  }
  const auto at = [&](int64_t t) { return M.exception_begin[static_cast<size_t>(t)]; };
  for (int64_t i = at(tile); i < at(tile + 1); ++i) {
    const PackedException& e = M.exceptions[static_cast<size_t>(i)];
    if (e.row() == row) integers[static_cast<size_t>(e.column())] += static_cast<int32_t>(e.value);
  }
  const float row_scale = M.row_scale.empty() ? 1 : M.row_scale[static_cast<size_t>(k)];
  for (size_t j = 0; j < integers.size(); ++j) {
    const float scale = M.groups == 0
                            ? row_scale * M.column_scale[j]
                            : M.group_scale[static_cast<size_t>(
                                  (tile * M.groups + M.column_group[j]) * kPackedRows + row)] *
                                  M.column_scale[j];
    out[j] = scale * static_cast<float>(integers[j]);
  }
}

}  // namespace watersic
