// A matrix in the bitshift layout (base/bitshift.h) held for products with it: the payload as it
// lies in a file, and what each of its columns multiplies.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bitshift.h"
#include "base/strands.h"
#include "kernels/tile_exceptions.h"
#include "kernels/tiles.h"

namespace watersic {

// A block of a run's columns, as a product goes through them; their inputs share a scale. Inputs
// fill whole vectors: what fills up the last one is 0.
struct BitshiftBlock {
  int32_t run = 0;      // of the layout
  int32_t columns = 0;  // at most kBitshiftColumns
  int64_t first = 0;    // column of its run
  int64_t column = 0;   // where its columns begin among all blocks'
  int64_t input = 0;    // of a token: where its quantized inputs begin, in bytes

  int64_t padded() const {
    return (columns + kBitshiftVector - 1) / kBitshiftVector * kBitshiftVector;
  }
  int64_t input_bytes() const { return 2 * padded(); }
};
// So that sums of products keep to 32 bits: inputs have 15.
constexpr int32_t kBitshiftInputLimit = INT16_MAX / 2;
static_assert(kBitshiftColumns * kMostCode * kBitshiftInputLimit <= INT32_MAX);
static_assert(kBitshiftRows == kTileRows);

// A block's words in a tile. Those of its next column are two bytes on.
struct BitshiftChunks {
  int rate = 0;  // 0: it has none
  BitshiftWords words;

  BitshiftWords of(int64_t i) const {
    return {.before = words.before + 2 * i, .first = words.first + 2 * i, .step = words.step};
  }
};

struct BitshiftMatrix {
  // Of weights at least, in a task of a product: decoding, not memory, is what takes the time.
  static constexpr int64_t kTaskBytes = 32 << 10;

  BitshiftMatrix() = default;
  // live: the input of each live column, rising, and column_scale its scale: V = row_scale *
  // column_scale * Z. row_scale: of each row, or none. `payload` must outlive the matrix.
  BitshiftMatrix(Bitshift stream, std::span<const uint8_t> payload, int64_t inputs,
                 std::span<const int32_t> live, std::span<const float> column_scale,
                 std::vector<float> row_scale, int64_t strands);

  int64_t rows = 0, inputs = 0;
  int64_t strands = 1;
  std::vector<int32_t> row_order, position;  // of rows in an order of their own, and its inverse
  int memory = 0;
  BitshiftLayout layout;
  std::span<const uint8_t> payload;

  // Of each block's columns: the input that each multiplies, its scale with its stage's unit in it.
  std::vector<int32_t> source;
  std::vector<float> scale;
  std::vector<BitshiftBlock> blocks;
  int64_t input_bytes = 0;  // of a token's quantized inputs
  int64_t tile_bytes = 0;   // on average

  std::vector<TileException> exceptions;  // tile after tile
  std::vector<int64_t> exception_begin;   // of each tile's, and the end
  std::vector<float> column_scale;        // of each input; 0 where it is dead
  std::vector<float> row_scale;           // of each row; empty: 1

  // The output that a row of the matrix is, and the other way.
  int64_t output_of(int64_t row) const {
    return row_order.empty() ? strand_row(row, rows, strands) : row_order[static_cast<size_t>(row)];
  }
  int64_t row_of(int64_t output) const {  // the inverse of strands interleaves, too
    return position.empty() ? strand_row(output, rows, rows / strands)
                            : position[static_cast<size_t>(output)];
  }
  int64_t tiles() const { return layout.tiles(); }
  BitshiftChunks chunks(int64_t tile, const BitshiftBlock& block) const {
    const auto run = static_cast<size_t>(block.run);
    const int rate = layout.rate(layout.runs()[run], tile);
    if (rate == 0) return {};
    return {.rate = rate, .words = layout.words(tile, run, block.first).in(payload.data())};
  }
  TileExceptions exceptions_of(int64_t tile) const;
  int64_t bytes() const;
};

}  // namespace watersic
