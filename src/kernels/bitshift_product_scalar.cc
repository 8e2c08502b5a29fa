#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/bitshift_product.h"

namespace watersic {
namespace {

using Sums = std::array<int32_t, kTileRows>;

// Calls add(block, column of the block, codes of the tile's rows, their unit) for all columns of a
// block, then finish(its index, the unit), for all blocks.
template <class Add, class Finish>
void for_each_column(const BitshiftMatrix& M, int64_t tile, const Add& add, const Finish& finish) {
  Sums codes;
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const BitshiftChunks chunks = M.chunks(tile, block);
    if (chunks.rate == 0) continue;
    for (int64_t i = 0; i < block.columns; ++i) {
      read_chunk(M.memory, chunks.rate, chunks.of(i), codes);
      add(block, i, codes, static_cast<float>(code_unit(chunks.rate)));
    }
    finish(static_cast<int64_t>(b), static_cast<float>(code_unit(chunks.rate)));
  }
}

}  // namespace

void bitshift_product_scalar(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x,
                             int64_t token, int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  for (int64_t t = 0; t < tokens; ++t) {
    Sums sums{};
    for_each_column(
        M, tile,
        [&](const BitshiftBlock& block, int64_t i, const Sums& codes, float /*unit*/) {
          int16_t q = 0;
          std::memcpy(&q, x.at(block, token + t) + 2 * i, 2);
          for (size_t r = 0; r < sums.size(); ++r) sums[r] += codes[r] * q;
        },
        [&](int64_t b, float unit) {
          for (size_t r = 0; r < sums.size(); ++r)
            out[t * kTileRows + static_cast<int64_t>(r)] +=
                static_cast<float>(sums[r]) * (x.scale(b, token + t) * unit);
          sums.fill(0);
        });
  }
}

// Decodes each column once for all tokens.
void bitshift_product_scalar(const BitshiftMatrix& M, int64_t tile, const FloatInputs& x,
                             int64_t token, int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  for_each_column(
      M, tile,
      [&](const BitshiftBlock& block, int64_t i, const Sums& codes, float unit) {
        std::array<float, kTileRows> values;
        std::ranges::transform(codes, values.begin(),
                               [&](int32_t c) { return static_cast<float>(c) * unit; });
        for (int64_t t = 0; t < tokens; ++t) {
          const float z = x.z(token + t, block.column + i);
          float* sums = out + t * kTileRows;
          for (size_t r = 0; r < values.size(); ++r) sums[r] += values[r] * z;
        }
      },
      [](int64_t /*b*/, float /*unit*/) {});
}

}  // namespace watersic
