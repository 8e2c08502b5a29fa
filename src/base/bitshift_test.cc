#include "base/bitshift.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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

TEST(Bitshift, CodesHaveOneDeviation) {
  for (const int memory : {12, 14, 16}) {
    for (const int rate : {3, 4, 8, 24}) {
      double sum = 0, squares = 0;
      const uint32_t states = 1U << memory;
      for (uint32_t s = 0; s < states; ++s) {
        ASSERT_LE(code_of(memory, rate, s, 0), static_cast<uint32_t>(kMostCode));
        const double v = code_value(memory, rate, s, 0);
        sum += v;
        squares += v * v;
      }
      EXPECT_NEAR(sum / states, 0, 0.02 * kCodeDeviation) << memory << " " << rate;
      EXPECT_NEAR(std::sqrt(squares / states), kCodeDeviation, 0.03 * kCodeDeviation)
          << memory << " " << rate;
    }
  }
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
      // Words of three columns side by side; this one is the second.
      std::vector<uint8_t> words(static_cast<size_t>(3 * chunk_bytes(rate)), 0xA5);
      write_chunk(rate, windows, words.data() + 2, 6);
      const uint8_t before[2] = {static_cast<uint8_t>(start), static_cast<uint8_t>(start >> 8)};
      std::vector<int32_t> values(kBitshiftRows);
      read_chunk(memory, rate, {.before = before, .first = words.data() + 2, .step = 6}, values);
      for (size_t row = 0; row < values.size(); ++row) {
        ASSERT_EQ(code_unit(rate) * values[row],
                  code_value(memory, rate, windows[row], static_cast<int64_t>(row)))
            << rate << " " << memory << " " << row;
      }
      for (size_t i = 0; i < words.size(); ++i) {
        if (i % 6 / 2 != 1) {
          ASSERT_EQ(words[i], 0xA5) << "another column's";
        }
      }
      // The last word is before the next tile.
      EXPECT_EQ(words[words.size() - 4] | words[words.size() - 3] << 8, windows.back());
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
  EXPECT_EQ(layout.words(1, last, 0).before, layout.start(0, layout.runs()[last].begin));
  EXPECT_EQ(layout.words(2, 0, 0).before, layout.start(1, 0));
  const auto words = layout.words(1, 0, 0);
  EXPECT_EQ(words.before, layout.chunk(0, 0) + chunk_bytes(layout.rate(layout.runs()[0], 0)) - 2);
}

// Every word of a tile belongs to one column of it.
TEST(Bitshift, WordsFillTheTile) {
  const std::vector<int32_t> levels(300, 6), offsets{0, 2};
  const BitshiftLayout layout(128, 128, levels, offsets);
  ASSERT_EQ(layout.runs().size(), 1U);
  for (int64_t tile = 0; tile < 2; ++tile) {
    std::vector<int> taken(static_cast<size_t>(300 * (6 + 2 * tile)));
    for (int64_t i = 0; i < 300; ++i) {
      const auto words = layout.words(tile, 0, i);
      for (int64_t j = 0; j < 6 + 2 * tile; ++j)
        ++taken.at(static_cast<size_t>((words.first - layout.chunk(tile, 0) + j * words.step) / 2));
      const auto above = layout.words(0, 0, i);
      EXPECT_EQ(words.before, tile == 0 ? layout.start(0, i) : above.first + 5 * above.step);
    }
    EXPECT_EQ(std::ranges::count(taken, 1), std::ssize(taken));
  }
}

}  // namespace
}  // namespace watersic
