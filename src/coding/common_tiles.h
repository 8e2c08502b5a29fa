// How the integers of a layer are cut into tiles that decode independently, and in which order a
// tile holds them.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>

namespace watersic {

// A tile is a segment of rows x a group of (live) columns. In it, lane l holds column l, then
// l + lanes, l + 2 lanes, ...: all rows of one column before the next. The lanes run in step:
//
//   for each pass p (columns p*lanes ...), for each row, for each lane with a column left: one
//   integer
//
// and take their words from one stream in this order. So at any time `lanes` neighbouring columns
// of one row are decoded: what a SIMD register holds, each lane with its own column's table.
struct TileGrid {
  int64_t rows = 0, live = 0;
  int64_t segment_rows = 1, group_columns = 1;
  int lanes = 1;

  struct Tile {
    int64_t row = 0, rows = 0, column = 0, columns = 0;
  };

  int64_t segments() const { return live == 0 ? 0 : (rows + segment_rows - 1) / segment_rows; }
  int64_t groups() const { return rows == 0 ? 0 : (live + group_columns - 1) / group_columns; }
  int64_t tiles() const { return segments() * groups(); }
  // Tiles go along the row segments: t = segment * groups + group.
  Tile tile(int64_t t) const {
    const int64_t across = groups();
    assert(across > 0);
    const int64_t row = t / across * segment_rows;  // NOLINT(clang-analyzer-core.DivideZero)
    const int64_t column = t % across * group_columns;
    return {row, std::min(segment_rows, rows - row), column,
            std::min(group_columns, live - column)};
  }
  // Lanes without a column have no state.
  int active_lanes(const Tile& tile) const {
    return static_cast<int>(std::min<int64_t>(lanes, tile.columns));
  }
};

}  // namespace watersic
