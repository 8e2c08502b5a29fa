// The bitshift trellis (QTIP, arXiv 2406.11235) with a computed code: what the runnable layout of a
// tensor is made of, shared by who writes and who reads it. Each column's bits, down the rows, are
// one stream; its state at a row is the last `memory` bits, and the row's value a function of the
// state alone. A row takes as many new bits as the rate has it, so that any row can be read alone,
// without tables.
#pragma once

#include <algorithm>
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
// A stage's values are multiples of code_unit, with this deviation.
constexpr double kCodeDeviation = 1255;
// An exception adds a multiple of this many of the first stage's units.
constexpr int kExceptionUnit = 1024;
// Columns of one rate come in blocks of so many, which lie side by side.
constexpr int64_t kBitshiftColumns = 256;
// Of which a product takes so many at a time.
constexpr int64_t kBitshiftVector = 16;
static_assert(kBitshiftColumns % kBitshiftVector == 0);

// New bits of a tile's row.
constexpr int row_bits(int rate, int64_t row) {
  return static_cast<int>((row + 1) * rate / kBitshiftQuarters - row * rate / kBitshiftQuarters);
}
// Of a tile and a column rows x rate bits are a whole number of words of 16.
constexpr int64_t chunk_words(int rate) { return kBitshiftRows * rate / kBitshiftQuarters / 16; }
constexpr int64_t chunk_bytes(int rate) { return 2 * chunk_words(rate); }

// Where a rate gives some rows no new bits, the value depends on the row as well.
constexpr uint32_t row_phase(int rate, int64_t row) {
  return rate < kBitshiftQuarters ? static_cast<uint32_t>(row % kBitshiftQuarters) : 0;
}
constexpr uint32_t kPhaseStep = 0x9E37;

// The bits of a stream that a row sees, its window, are the last 16, the newest lowest. Its state
// is the lower `memory` of them.
constexpr uint32_t next_window(uint32_t window, uint32_t bits, int count) {
  return (window << count | bits) & 0xFFFF;
}
constexpr uint32_t state_of(int memory, uint32_t window) { return window & ((1U << memory) - 1); }

// There are two codes. Below 1 bit (a tile's rate) it is the mean of p = a x + b and x p mod 2^16,
// which ends at 2.4 deviations; beyond, of two products mod 2^16 the means of the upper bytes and
// of the lower ones, added, which ends at 3.3.
constexpr int kMostLowRate = kBitshiftQuarters - 1;
constexpr uint32_t kLowFactor = 0x93AE, kLowAddend = 0x9D2D;
constexpr uint32_t kHighFactor = 0xD6C5, kOtherHighFactor = 0x9389;
static_assert(kLowFactor % 2 == 0 && kLowAddend % 2 == 1, "else x p would not take all values");
constexpr int kMostCode = 511, kMiddleCode = 255;

// The code of a row, 0 .. kMostCode.
constexpr uint32_t code_of(int memory, int rate, uint32_t window, int64_t row) {
  if (rate <= kMostLowRate) {
    // What of the window is not the state falls out at the top.
    const uint32_t x = window + row_phase(rate, row) * kPhaseStep;
    const uint32_t p = (x * kLowFactor + kLowAddend) << (16 - memory), q = x * p;
    return ((p & 0xFFFF) + (q & 0xFFFF) + 1) >> 8;
  }
  const uint32_t x = state_of(memory, window);
  const uint32_t p = x * kHighFactor, q = x * kOtherHighFactor;
  const auto mean = [](uint32_t a, uint32_t b) { return ((a & 255) + (b & 255) + 1) / 2; };
  return mean(p, q) + mean(p >> 8, q >> 8);
}
// What code_of less kMiddleCode is multiplied by: both codes then have one deviation.
constexpr int32_t code_unit(int rate) { return rate <= kMostLowRate ? 12 : 17; }
constexpr int32_t code_value(int memory, int rate, uint32_t window, int64_t row) {
  return code_unit(rate) * (static_cast<int32_t>(code_of(memory, rate, window, row)) - kMiddleCode);
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

// A column's words in a tile: number 0 is the one before the tile's.
struct BitshiftWords {
  const uint8_t* before = nullptr;
  const uint8_t* first = nullptr;
  int64_t step = 0;

  constexpr const uint8_t* at(int64_t number) const {
    return number == 0 ? before : first + (number - 1) * step;
  }
};

// Which stages there are, in what order, and where their bits lie in the payload:
//
//   starts | tile 0 | tile 1 | ... | kBitshiftPadding zeros
//
// Starts, a word of 16 bits each: of each segment of rows and each column the bits before its first
// row. A tile: of each block of up to kBitshiftColumns of a run's columns the first words of all of
// them, then the second ones, and so on; none where the rate there is 0.
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

  // Where in the payload a run's bits begin.
  int64_t chunk(int64_t tile, size_t run) const {
    return chunks_[static_cast<size_t>(tile) * runs_.size() + run];
  }
  int64_t start(int64_t segment, int64_t column) const {
    return 2 * (segment * static_cast<int64_t>(columns_.size()) + column);
  }
  // Where the words lie of a column of a run in a tile, and the word before the first: the last one
  // of the tile above that has any, or the segment's start. Those of the block's next column are
  // two bytes on.
  struct Words {
    int64_t before = 0, first = 0;
    int64_t step = 0;  // from a word to the next

    BitshiftWords in(const uint8_t* payload) const {
      return {.before = payload + before, .first = payload + first, .step = step};
    }
  };
  Words words(int64_t tile, size_t run, int64_t column_of_run) const;

 private:
  int64_t rows_ = 0, segment_rows_ = 0, payload_bytes_ = 0, data_bytes_ = 0;
  std::vector<BitshiftColumn> columns_;
  std::vector<BitshiftRun> runs_;
  std::vector<int32_t> offsets_;
  std::vector<int64_t> chunks_;  // tile by tile, of each run
  // Of a tile its segment's first one, and where the segment's starts lie.
  struct Segment {
    int64_t top = 0, start = 0;
  };
  std::vector<Segment> segments_;  // of each tile
};

inline int BitshiftLayout::rate(const BitshiftRun& run, int64_t tile) const {
  return std::clamp(run.rate + offsets_[static_cast<size_t>(tile)], 0, kMostStageRate);
}

inline BitshiftLayout::Words BitshiftLayout::words(int64_t tile, size_t run, int64_t column) const {
  const BitshiftRun& r = runs_[run];
  const int64_t block = column / kBitshiftColumns * kBitshiftColumns;
  const int64_t columns = std::min(kBitshiftColumns, r.end - r.begin - block);
  const auto word = [&](int64_t t, int64_t number) {
    return chunk(t, run) + block * chunk_bytes(rate(r, t)) +
           2 * (number * columns + column - block);
  };
  Words out{.first = word(tile, 0), .step = 2 * columns};
  const auto [top, starts] = segments_[static_cast<size_t>(tile)];
  int64_t above = tile - 1;
  while (above >= top && rate(r, above) == 0) --above;
  out.before =
      above >= top ? word(above, chunk_words(rate(r, above)) - 1) : starts + 2 * (r.begin + column);
  return out;
}

constexpr int64_t kBitshiftPadding = 32;  // so that vectors may be read where bytes are

// A weight beyond what the code reaches: so many of kExceptionUnit are added to its first stage.
struct BitshiftException {
  int64_t row = 0;
  int32_t column = 0;  // among the live ones
  int32_t value = 0;   // -128 .. 127, not 0
};

// A matrix of integers as it is stored: what each column's stages say,
//   Z = (c0 + kExceptionUnit e) kStageRatio + c1
// where c are values.
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

// The code of a row of a tile at a rate above 0, less kMiddleCode.
int32_t read_code(int memory, int rate, const BitshiftWords& words, int64_t row);
// Those of rows 0 .. codes.size().
void read_chunk(int memory, int rate, const BitshiftWords& words, std::span<int32_t> codes);
// Writes a column's words, `step` bytes apart, from each row's window after it.
void write_chunk(int rate, std::span<const uint16_t> windows, uint8_t* first, int64_t step);

// Z of a tile: its rows x live columns. The reference of all that reads the layout.
void read_tile(const Bitshift& stream, std::span<const uint8_t> payload, int64_t tile,
               MatrixView<int32_t> Z);

}  // namespace watersic
