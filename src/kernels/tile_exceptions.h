// Integers of a tile that are beyond what it holds: each adds to a product on its own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "kernels/tiles.h"
#include "watersic/matrix.h"

namespace watersic {

// To be added to the integer that is held, times the column's scale.
class TileException {
 public:
  TileException() = default;
  TileException(int64_t row, int64_t column, float addend)
      : value(addend), place_(static_cast<uint32_t>(row * kMostColumns + column)) {}
  int64_t row() const { return place_ / kMostColumns; }     // of the tile
  int64_t column() const { return place_ % kMostColumns; }  // the input
  // By row, then by column.
  bool operator<(const TileException& other) const { return place_ < other.place_; }

  static constexpr uint32_t kMostColumns = 1U << 26;
  float value = 0;

 private:
  uint32_t place_ = 0;
};

// Those of one tile, by row and column, and the scales of what they add. group_scale: where there
// are groups of columns, those of the tile's rows, groups x 64.
struct TileExceptions {
  std::span<const TileException> values;
  const float* column_scale = nullptr;
  const float* group_scale = nullptr;
  const int32_t* column_group = nullptr;
};
// A tile's part of the list of all tiles; begin: of each tile, and the end.
inline std::span<const TileException> tile_part(std::span<const TileException> all,
                                                std::span<const int64_t> begin, int64_t tile) {
  const auto t = static_cast<size_t>(tile);
  return all.subspan(static_cast<size_t>(begin[t]), static_cast<size_t>(begin[t + 1] - begin[t]));
}

// Inputs as exceptions of many tokens want them: those of a column side by side.
class ColumnInputs {
 public:
  ColumnInputs(ThreadPool& pool, MatrixView<const float> X);
  // Of a column and the tokens from `token` on, a multiple of kProductTokens; beyond the last: 0.
  const float* at(int64_t token, int64_t column) const {
    return values_.row(token / kProductTokens * columns_ + column).data();
  }

 private:
  int64_t columns_;
  Matrix<float> values_;  // (groups of tokens x columns) x kProductTokens
};

// Those of a row of the tile added to its integers, one for each input.
void add_exceptions(const TileExceptions& tile, int64_t row, std::span<int32_t> integers);
// out[row] += integer * scale * input over the exceptions of a tile; x: the inputs of one token.
void add_exceptions(const TileExceptions& tile, std::span<const float> x, std::span<float> out);
// The same to the bit for `tokens` of them, at most kProductTokens: out[t * 64 + row].
void add_exceptions(const TileExceptions& tile, const ColumnInputs& x, int64_t token,
                    int64_t tokens, std::span<float> out);

}  // namespace watersic
