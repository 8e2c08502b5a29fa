// How a matrix of integers is packed: widths from counts, columns in the order of their widths, and
// the integers put in place, by many threads.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "kernels/packed_matrix.h"
#include "watersic/matrix.h"

namespace watersic {

// What the integers of each column need, gathered over all of them or a part, in any order.
class IntegerCounts {
 public:
  explicit IntegerCounts(int64_t columns);
  // The integers of the columns from `column` on. May be called from several threads.
  void add(int64_t column, MatrixView<const int32_t> integers);

  // Width and base: integers in [base, base + 2^width) cost `width` bits each, others an exception.
  // Width 0: nothing but zeros was seen.
  struct Range {
    int width = 0;
    int32_t base = 0;
  };
  Range best_range(int64_t column) const;

 private:
  static constexpr int kBins = 32;  // bits of two's complement, less one
  struct Column {
    std::array<uint32_t, kBins> needs{};
    int32_t least = INT32_MAX, most = INT32_MIN;
  };
  std::vector<Column> columns_;
  std::mutex mutex_;
};

// A column to be packed.
struct PackedColumn {
  int32_t input = 0;
  int32_t group = 0;  // of scales
  float scale = 1;
  IntegerCounts::Range range;
};

// Columns of this width and more multiply inputs of 16 bits: what they hold is so exact that inputs
// of 8 bits would show.
constexpr int kWideWidth = 6;

class PackedWriter {
 public:
  // Scales of rows and groups are the caller's to fill in. `columns` as the integers come: one for
  // each; of those of width 0 all integers but exceptions are 0.
  PackedWriter(int64_t rows, int64_t inputs, int64_t groups, std::span<const PackedColumn> columns);

  // The integers of rows [row, ...) and columns [column, ...). May be called from several threads,
  // once for each integer.
  void write(int64_t row, int64_t column, MatrixView<const int32_t> integers);
  PackedMatrix take();

 private:
  // A part of a column's bits.
  struct Digit {
    int width = 0, shift = 0;
    int64_t offset = 0;  // of its quad in a tile
    int64_t lane = 0;    // in the quad
  };
  void place_columns(std::span<const PackedColumn> columns);
  void write_column(int64_t row, int64_t column, MatrixView<const int32_t> integers, int64_t at,
                    std::vector<TileException>& exceptions);  // of its tile

  PackedMatrix M_;
  std::vector<PackedColumn> columns_;
  std::vector<std::vector<Digit>> digits_;              // by column
  std::vector<std::vector<TileException>> exceptions_;  // by tile
  std::mutex mutex_;
};

}  // namespace watersic
