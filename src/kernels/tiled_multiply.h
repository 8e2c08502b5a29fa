// Y = X V^T tile by tile, for every kind of matrix that is held in tiles of integers.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "base/threads.h"
#include "kernels/tile_exceptions.h"
#include "kernels/tiles.h"
#include "watersic/matrix.h"

namespace watersic {

// Writes a tile's outputs for one token.
template <class TiledMatrix>
void finish_tile(const TiledMatrix& M, int64_t tile, std::span<const float> sums,
                 std::span<const float> bias, float beta, std::span<float> y) {
  const int64_t first = tile * kTileRows, rows = std::min(kTileRows, M.rows - first);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t k = first + r;
    const auto output = static_cast<size_t>(M.output_of(k));
    float value = sums[static_cast<size_t>(r)];
    if (!M.row_scale.empty()) value *= M.row_scale[static_cast<size_t>(k)];
    if (!bias.empty()) value += bias[output];
    y[output] = beta == 0 ? value : value + beta * y[output];
  }
}

// Y = X V^T + bias + beta Y. prepare(M, x, token, inputs) makes a token's Inputs; product(M, tile,
// inputs, token, tokens, sums) is a tile's part of the products, without exceptions and the rows'
// scales.
template <class Inputs, class TiledMatrix, class Prepare, class Product>
void tiled_multiply(ThreadPool& pool, const TiledMatrix& M, MatrixView<const float> X,
                    const Prepare& prepare, const Product& product, std::span<const float> bias,
                    float beta, MatrixView<float> Y) {
  const int64_t tokens = X.rows();
  Inputs inputs(M, tokens);
  pool.parallel_for(tokens, [&](int64_t token) { prepare(M, X.row(token), token, inputs); });
  const int64_t tiles = std::max<int64_t>(1, M.kTaskBytes / std::max<int64_t>(1, M.tile_bytes));
  std::optional<ColumnInputs> by_column;
  if (tokens > 1 && !M.exceptions.empty()) by_column.emplace(pool, X);
  const int64_t across = tile_count(tokens, kProductTokens);
  // All tokens for one part of the weights, then for the next: it is still in the cache.
  pool.parallel_for(tile_count(M.tiles(), tiles) * across, [&](int64_t task) {
    const int64_t token = task % across * kProductTokens;
    const int64_t count = std::min(kProductTokens, tokens - token);
    const int64_t first = task / across * tiles, last = std::min(M.tiles(), first + tiles);
    std::array<float, kProductTokens * kTileRows> sums;
    for (int64_t tile = first; tile < last; ++tile) {
      product(M, tile, inputs, token, count, sums.data());
      if (by_column) {
        add_exceptions(M.exceptions_of(tile), *by_column, token, count, sums);
      } else {
        add_exceptions(M.exceptions_of(tile), X.row(token), sums);
      }
      for (int64_t t = 0; t < count; ++t)
        finish_tile(M, tile, std::span(sums).subspan(static_cast<size_t>(t * kTileRows)), bias,
                    beta, Y.row(token + t));
    }
  });
}

}  // namespace watersic
