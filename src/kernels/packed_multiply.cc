#include "kernels/packed_multiply.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "base/strands.h"
#include "kernels/packed_inputs.h"
#include "kernels/packed_product.h"

namespace watersic {
namespace {

constexpr int64_t kTokenTile = 64;         // of a task
constexpr int64_t kTaskBytes = 128 << 10;  // of weights at least, in a task

// Exceptions of a tile times the inputs of a token.
void add_exceptions(const PackedMatrix& M, int64_t tile, std::span<const float> x,
                    std::span<float> out) {
  const auto at = [&](int64_t t) {
    return static_cast<size_t>(M.exception_begin[static_cast<size_t>(t)]);
  };
  for (size_t i = at(tile); i < at(tile + 1); ++i) {
    const PackedException& e = M.exceptions[i];
    const auto column = static_cast<size_t>(e.column);
    const int64_t row = e.row - tile * kPackedRows;
    float scale = M.column_scale[column];
    if (M.groups > 0)
      scale *= M.group_scale[static_cast<size_t>(
          (tile * M.groups + M.column_group[column]) * kPackedRows + row)];
    out[static_cast<size_t>(row)] += e.value * (scale * x[column]);
  }
}

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
  const int64_t down = tile_count(M.tiles(), tiles);
  pool.parallel_for(down * tile_count(tokens, kTokenTile), [&](int64_t task) {
    const int64_t begin = task / down * kTokenTile, end = std::min(tokens, begin + kTokenTile);
    const int64_t last = std::min(M.tiles(), (task % down + 1) * tiles);
    std::array<float, kProductTokens * kPackedRows> sums;
    for (int64_t tile = task % down * tiles; tile < last; ++tile) {
      for (int64_t token = begin; token < end; token += kProductTokens) {
        const int64_t count = std::min(kProductTokens, end - token);
        packed_product(M, tile, inputs, token, count, sums.data());
        for (int64_t t = 0; t < count; ++t) {
          const auto mine = std::span(sums).subspan(static_cast<size_t>(t * kPackedRows),
                                                    static_cast<size_t>(kPackedRows));
          add_exceptions(M, tile, X.row(token + t), mine);
          finish(M, tile, mine, bias, beta, Y.row(token + t));
        }
      }
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
    if (block.part > 0) continue;
    for (int64_t i = 0; i < 4 * int64_t{block.quads}; ++i) {
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
    if (e.row == k) integers[static_cast<size_t>(e.column)] += static_cast<int32_t>(e.value);
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
