#include "base/bitshift.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"

namespace watersic {
namespace {

TEST(Bitshift, RowsTakeTheRate) {
  for (int rate = 0; rate <= kMostStageRate; ++rate) {
    int64_t bits = 0;
    for (int64_t row = 0; row < kBitshiftRows; ++row) bits += row_bits(rate, row);
    EXPECT_EQ(bits, 8 * chunk_bytes(rate)) << rate;
  }
}

TEST(Bitshift, ValuesAreNearlyGaussian) {
  double sum = 0, squares = 0;
  for (uint32_t s = 0; s < 0x10000; ++s) {
    const double v = code_value(s, 0);
    ASSERT_LE(std::fabs(v), kMostCode);
    sum += v;
    squares += v * v;
  }
  EXPECT_NEAR(sum / 0x10000, 0, 0.05);
  EXPECT_NEAR(std::sqrt(squares / 0x10000), kCodeDeviation, 0.1);
}

// Random bits along a column, written and read again tile by tile.
TEST(Bitshift, ChunksAreReadAsTheyWereWritten) {
  Rng rng(1);
  for (int rate = 1; rate <= kMostStageRate; ++rate) {
    for (const int memory : {8, 12, 16}) {
      std::vector<uint16_t> windows;
      const uint32_t start = static_cast<uint32_t>(rng.bits() & 0xFFFF);
      uint32_t window = start;
      for (int64_t row = 0; row < kBitshiftRows; ++row) {
        const int count = row_bits(rate, row);
        window =
            next_window(window, static_cast<uint32_t>(rng.bits()) & ((1U << count) - 1), count);
        windows.push_back(static_cast<uint16_t>(window));
      }
      std::vector<uint8_t> chunk(static_cast<size_t>(chunk_bytes(rate)));
      write_chunk(rate, windows, chunk.data());
      const uint8_t history[2] = {static_cast<uint8_t>(start), static_cast<uint8_t>(start >> 8)};
      std::vector<int32_t> values(kBitshiftRows);
      read_chunk(memory, rate, history, chunk.data(), values);
      for (size_t row = 0; row < values.size(); ++row) {
        ASSERT_EQ(values[row], code_value(windows[row] >> (16U - static_cast<unsigned>(memory)),
                                          row_phase(rate, static_cast<int64_t>(row))))
            << rate << " " << memory << " " << row;
      }
      // The end of the chunk is the history of the next.
      EXPECT_EQ(chunk[chunk.size() - 2] | chunk[chunk.size() - 1] << 8, windows.back());
    }
  }
}

TEST(Bitshift, LayoutCountsEveryBit) {
  const std::vector<int32_t> levels{8, 40, -3, 22, 8, 1}, offsets{0, 4, -2, -1};
  const BitshiftLayout layout(200, 128, levels, offsets);
  // Columns 1 and 3 have two stages, column 2 one, in the second tile alone.
  ASSERT_EQ(layout.columns().size(), 8U);
  int64_t bytes = 0;
  for (const int32_t offset : offsets)
    for (const int32_t level : levels) bytes += 2 * std::max(0, level + offset);
  EXPECT_EQ(layout.data_bytes(), bytes);
  for (size_t i = 1; i < layout.columns().size(); ++i)
    EXPECT_GE(layout.columns()[i - 1].rate, layout.columns()[i].rate);
  // The last run's column has no bits in tile 0, bits in tile 1; tile 2 begins a segment.
  const size_t last = layout.runs().size() - 1;
  EXPECT_EQ(layout.rate(layout.runs()[last], 0), 0);
  EXPECT_EQ(layout.history(1, last).begin, layout.start(0, layout.runs()[last].begin));
  EXPECT_EQ(layout.history(2, 0).begin, layout.start(1, 0));
  const auto history = layout.history(1, 0);
  EXPECT_EQ(history.begin, layout.chunk(0, 0) + chunk_bytes(layout.rate(layout.runs()[0], 0)) - 2);
}

}  // namespace
}  // namespace watersic
