// The bitshift trellis (QTIP, arXiv 2406.11235) with a computed code: what the runnable layout of a
// tensor is made of, shared by who writes and who reads it. Each column's bits, down the rows, are
// one stream; its state at a row is the last `memory` bits, and the row's value a function of the
// state alone. A row takes as many new bits as the rate has it, so that any row can be read alone,
// without tables.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

constexpr int64_t kBitshiftRows = 64;  // of a tile
constexpr int kBitshiftQuarters = 4;   // rates are counted in quarters of a bit
constexpr int kMostStageRate = 24;     // of a stage
// What the first stage leaves is coded by the second (a Gaussian loses nothing by that), in units
// that are so many times smaller.
constexpr int kBitshiftStages = 2;
constexpr int kStageRatio = 60;
constexpr int32_t stage_unit(int stage) { return stage == 0 ? kStageRatio : 1; }
constexpr int kMostLevel = kBitshiftStages * kMostStageRate;  // of a weight
constexpr int kLeastMemory = 8, kMostMemory = 16;
// Of the values of a stage: they are nearly Gaussian, in -510 .. 510.
constexpr double kCodeDeviation = 147.8;
constexpr int kMostCode = 510;
// An exception adds a multiple of this many of the first stage's units.
constexpr int kExceptionUnit = 64;

// New bits of a tile's row.
constexpr int row_bits(int rate, int64_t row) {
  return static_cast<int>((row + 1) * rate / kBitshiftQuarters - row * rate / kBitshiftQuarters);
}
// Bytes of a tile and a column: rows x rate bits.
constexpr int64_t chunk_bytes(int rate) { return kBitshiftRows * rate / kBitshiftQuarters / 8; }

// Where a rate gives some rows no new bits, the value depends on the row as well.
constexpr uint32_t row_phase(int rate, int64_t row) {
  return rate < kBitshiftQuarters ? static_cast<uint32_t>(row % kBitshiftQuarters) : 0;
}
constexpr uint32_t kPhaseStep = 0x9E37, kCodeFactor = 0x83DCD12D;
// The value of a state: the sum of the four bytes of a product.
constexpr int32_t code_value(uint32_t state, uint32_t phase) {
  const uint32_t x = ((state + phase * kPhaseStep) & 0xFFFF) * kCodeFactor;
  return static_cast<int32_t>((x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24)) - kMostCode;
}

// One stage of a column. Its rate in a tile is rate + the tile's offset, held to 0 ..
// kMostStageRate.
struct BitshiftColumn {
  int32_t column = 0;  // among the live ones
  int32_t stage = 0;
  int32_t rate = 0;
};

// Columns of the layout next to each other that have one rate.
struct BitshiftRun {
  int64_t begin = 0, end = 0;
  int32_t rate = 0;
};

// Which stages there are, in what order, and where their bits lie in the payload:
//
//   starts | tile 0 | tile 1 | ... | kBitshiftPadding zeros
//
// Starts, two bytes each: of each segment of rows and each column the bits before its first row.
// A tile: a chunk for each column, none where its rate there is 0.
class BitshiftLayout {
 public:
  BitshiftLayout() = default;
  // segment_rows: a multiple of kBitshiftRows, after which streams begin anew. levels: of each live
  // column its rate in all stages where the tile's offset is 0, which may be negative; offsets: of
  // each tile. Sums are at most kMostLevel.
  BitshiftLayout(int64_t rows, int64_t segment_rows, std::span<const int32_t> levels,
                 std::span<const int32_t> offsets);

  // By falling rate, then by stage and column.
  const std::vector<BitshiftColumn>& columns() const { return columns_; }
  const std::vector<BitshiftRun>& runs() const { return runs_; }
  int64_t rows() const { return rows_; }
  int64_t segment_rows() const { return segment_rows_; }
  int64_t tiles() const { return static_cast<int64_t>(offsets_.size()); }
  int rate(const BitshiftRun& run, int64_t tile) const;
  int64_t payload_bytes() const { return payload_bytes_; }
  // Of its integers alone, all rows of the last tile included.
  int64_t data_bytes() const { return data_bytes_; }
  int64_t bytes() const;  // of memory, without the payload

  // Where in the payload the chunk of a run's first column begins; the others follow.
  int64_t chunk(int64_t tile, size_t run) const {
    return chunks_[static_cast<size_t>(tile) * runs_.size() + run];
  }
  int64_t start(int64_t segment, int64_t column) const {
    return 2 * (segment * static_cast<int64_t>(columns_.size()) + column);
  }
  // Where the two bytes before a tile lie of a run's first column, and how far the others' are
  // apart: the end of the last tile above that has any, or the segment's starts.
  struct History {
    int64_t begin = 0, step = 2;
  };
  History history(int64_t tile, size_t run) const;

 private:
  int64_t rows_ = 0, segment_rows_ = 0, payload_bytes_ = 0, data_bytes_ = 0;
  std::vector<BitshiftColumn> columns_;
  std::vector<BitshiftRun> runs_;
  std::vector<int32_t> offsets_;
  std::vector<int64_t> chunks_;  // tile by tile, of each run
};
constexpr int64_t kBitshiftPadding = 32;  // so that vectors may be read where bytes are

// A weight beyond what the code reaches: so many of kExceptionUnit are added to its first stage.
struct BitshiftException {
  int64_t row = 0;
  int32_t column = 0;  // among the live ones
  int32_t value = 0;   // -128 .. 127, not 0
};

// A matrix of integers as it is stored: what each column's stages say,
//   Z = (c0 + kExceptionUnit e) kStageRatio + c1.
struct Bitshift {
  int memory = 0;  // bits of the state; 0: there is no such matrix
  BitshiftLayout layout;
  std::vector<BitshiftException> exceptions;  // by row, then column
  std::vector<int32_t> levels, offsets;       // what the layout was made of
  // Of each row as it is coded its number in the matrix; empty: they are in the matrix's order, or
  // its strands'.
  std::vector<int32_t> row_order;

  bool empty() const { return memory == 0; }
};

inline int64_t bitshift_tiles(int64_t rows) { return (rows + kBitshiftRows - 1) / kBitshiftRows; }

// The bits of a stream that a row sees, the newest topmost: 16, of which the upper `memory` are the
// state.
constexpr uint32_t next_window(uint32_t window, uint32_t bits, int count) {
  return (window >> count | bits << (16 - count)) & 0xFFFF;
}

// The value of a row of a tile, of a chunk at a rate above 0. `history`: the two bytes before it.
int32_t read_value(int memory, int rate, const uint8_t* history, const uint8_t* chunk, int64_t row);
// The values of one chunk: those of rows 0 .. values.size() of a tile.
void read_chunk(int memory, int rate, const uint8_t* history, const uint8_t* chunk,
                std::span<int32_t> values);
// Writes a chunk from each row's window after it.
void write_chunk(int rate, std::span<const uint16_t> windows, uint8_t* chunk);

// Z of a tile: its rows x live columns. The reference of all that reads the layout.
void read_tile(const Bitshift& stream, std::span<const uint8_t> payload, int64_t tile,
               MatrixView<int32_t> Z);

}  // namespace watersic
