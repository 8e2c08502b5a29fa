#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/packed_product.h"

namespace watersic {
namespace {

// Calls add(block, its index, quad in the tile's data, column of the block, row) ... for all blocks
// and rows, and after each block of a row finish(block, index, row).
template <class Add, class Finish>
void for_each_integer(const PackedMatrix& M, int64_t tile, const Add& add, const Finish& finish) {
  const auto data = M.tile(tile);
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    for (int64_t r = 0; r < kTileRows; ++r) {
      for (int64_t i = 0; i < block.columns(); ++i) {
        const auto quad =
            data.subspan(static_cast<size_t>(block.offset + i / 4 * quad_bytes(block.width)));
        add(block, i, packed_value(quad, block.width, r, i % 4));
      }
      const float scale =
          M.groups == 0
              ? 1
              : M.group_scale[static_cast<size_t>((tile * M.groups + block.group) * kTileRows + r)];
      finish(static_cast<int64_t>(b), r, scale);
    }
  }
}

// Of column i of a block.
int32_t quantized_input(const QuantizedInputs& x, const PackedBlock& block, int64_t token,
                        int64_t i) {
  const uint8_t* q = x.at(block, token);
  if (!block.wide) return std::bit_cast<int8_t>(q[i]);
  constexpr std::array<int64_t, 4> kPlace = {0, 2, 1, 3};
  int16_t value = 0;
  std::memcpy(&value, q + 2 * (i / 4 * 4 + kPlace[static_cast<size_t>(i % 4)]), 2);
  return value;
}

}  // namespace

void packed_product_scalar(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x,
                           int64_t token, int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  for (int64_t t = 0; t < tokens; ++t) {
    int32_t sum = 0;
    for_each_integer(
        M, tile,
        [&](const PackedBlock& block, int64_t i, int32_t value) {
          sum += value * quantized_input(x, block, token + t, i);
        },
        [&](int64_t b, int64_t r, float scale) {
          const auto total = static_cast<float>(sum + x.offset(b, token + t));
          out[t * kTileRows + r] += total * (scale * x.scale(b, token + t));
          sum = 0;
        });
  }
}

void packed_product_scalar(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                           int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  for (int64_t t = 0; t < tokens; ++t) {
    float sum = 0;
    for_each_integer(
        M, tile,
        [&](const PackedBlock& block, int64_t i, int32_t value) {
          sum += static_cast<float>(value) * x.z(token + t, block.column + i);
        },
        [&](int64_t b, int64_t r, float scale) {
          out[t * kTileRows + r] += (sum + x.offset(token + t, b)) * scale;
          sum = 0;
        });
  }
}

}  // namespace watersic
