// A matrix of integers and scales held for products with it: each column in the narrowest width
// that holds its integers, a few exceptions aside. Lossless: V is what the integers and scales say.
//
// Rows lie in tiles of 64, columns in quads of four. Of a tile and a quad, whose columns have one
// width, a unit is eight rows x four columns, a byte each: what a register of 32 bytes multiplies
// with four inputs. The eight units of a tile are packed into planes: a width of 5, say, is a plane
// of the lower four bits and one of the fifth. They follow each other, four bits first:
//
//   four bits: 4 vectors of 32 bytes, unit u in vector u mod 4, nibble u / 4
//   two bits:  2 vectors, unit u in vector u mod 2, pair u / 2
//   one bit:   1 vector, unit u in bit u
//
// So units u and u + 4 come from the same vectors, whatever the plane.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/strands.h"
#include "kernels/aligned_bytes.h"
#include "kernels/tile_exceptions.h"
#include "kernels/tiles.h"

namespace watersic {

constexpr int kMaxPlaneWidth = 7;  // wider columns are split into digits of at most this

// Quads of one width and group, at most kBlockQuads of them, as a product goes through them; their
// inputs share a scale. The inputs of wide columns, whose errors weigh more, are taken in 16 bits.
struct PackedBlock {
  int32_t width = 0;
  int32_t group = 0;  // of scales
  int32_t quads = 0;
  bool wide = false;
  int64_t offset = 0;  // of its data in a tile, in bytes
  int64_t column = 0;  // the first of its packed columns
  int64_t input = 0;   // of a token: where its quantized inputs begin, in bytes

  int64_t columns() const { return 4 * int64_t{quads}; }
  int64_t input_bytes() const { return wide ? 2 * columns() : columns(); }
  // Quantized inputs are integers of [-limit, limit]. That of wide columns keeps sums in 32 bits.
  int32_t limit() const { return wide ? 8191 : 127; }
};

struct PackedMatrix {
  static constexpr int64_t kTaskBytes = 128 << 10;  // of weights at least, in a task of a product

  int64_t rows = 0, inputs = 0;
  int64_t strands = 1;  // row k of the matrix is output strand_row(k, rows, strands)

  // Packed columns, kept in quads: the input that column v multiplies, its scale, and what is added
  // to each of its integers, which are held unsigned. What fills up a quad has a scale of 0.
  std::vector<int32_t> source;
  std::vector<float> scale;
  std::vector<int32_t> base;
  std::vector<uint8_t> shift;  // of its digit in the whole integer; `scale` has it in it

  std::vector<PackedBlock> blocks;
  int64_t input_bytes = 0;  // of a token's quantized inputs
  int64_t tile_bytes = 0;
  AlignedBytes data;  // tile after tile

  std::vector<TileException> exceptions;  // tile after tile
  std::vector<int64_t> exception_begin;   // of each tile's, and the end
  std::vector<float> column_scale;        // of each input, for exceptions; 0 where it is dead

  std::vector<float> row_scale;       // of each row; empty: 1
  int64_t groups = 0;                 // of columns that have scales by row; 0: none
  std::vector<float> group_scale;     // tile after tile: groups x 64
  std::vector<int32_t> column_group;  // of each input, where there are groups

  int64_t output_of(int64_t row) const { return strand_row(row, rows, strands); }
  int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  std::span<const uint8_t> tile(int64_t t) const {
    return data.span().subspan(static_cast<size_t>(t * tile_bytes),
                               static_cast<size_t>(tile_bytes));
  }
  TileExceptions exceptions_of(int64_t tile) const;
  int64_t bytes() const;
};

// Bytes of a quad of a width, in a tile.
constexpr int64_t quad_bytes(int width) { return width * kUnitBytes; }

// The integer in [0, 2^width) of row r of the tile and column c of the quad: the layout, for what
// need not be fast.
int32_t packed_value(std::span<const uint8_t> quad, int width, int64_t r, int64_t c);
// Sets the bits of column c of the quad, which are 0 before: of values[r], those from `shift` on.
// `shared`: others may set other bits of the same bytes at the same time.
void set_packed_column(std::span<uint8_t> quad, int width, int64_t c,
                       std::span<const uint32_t, kTileRows> values, int shift, bool shared);

}  // namespace watersic
