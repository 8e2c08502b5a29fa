// Frequency tables: what they are expanded to, and how well they fit.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "coding/common_table.h"
#include "coding/dec_table.h"
#include "coding/enc_table.h"

namespace watersic {
namespace {

Histogram histogram(std::vector<std::pair<int32_t, int64_t>> counts) {
  Histogram h;
  h.counts = std::move(counts);
  for (const auto& c : h.counts) h.total += c.second;
  return h;
}

TEST(Table, SumsToAllSlotsAndComesBack) {
  Rng rng(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::pair<int32_t, int64_t>> counts;
    int32_t value = static_cast<int32_t>(rng.below(2000)) - 1000;
    const auto n = 1 + rng.below(round % 10 == 0 ? 600 : 40);
    for (uint64_t i = 0; i < n; ++i) {
      counts.emplace_back(value, 1 + static_cast<int64_t>(std::exp2(rng.uniform() * 20)));
      value += 1 + static_cast<int32_t>(rng.below(8) == 0 ? rng.below(5) : 0);
    }
    const FittedTable t = fit_table(histogram(counts));
    EXPECT_EQ(std::accumulate(t.frequencies.begin(), t.frequencies.end(), 0U),
              1U << t.code.precision);
    for (const auto& [v, count] : counts) {
      const int64_t i = int64_t{v} - t.code.base;
      const bool inside = i >= 0 && i < t.code.symbols;
      EXPECT_TRUE(inside || t.code.escape);
      if (inside) {
        EXPECT_GT(t.frequencies[static_cast<size_t>(i)], 0U);
      }
    }
    BitWriter out;
    write_table(out, t.code);
    EXPECT_EQ(out.size(), t.table_bits());
    const std::vector<uint16_t> words = out.finish();
    const std::string name = "table";
    BitReader in(WordSpan(std::as_bytes(std::span(words))), name);
    const TableCode back = read_table(in, name);
    std::vector<uint32_t> frequencies;
    ASSERT_TRUE(expand_table(back, frequencies));
    EXPECT_EQ(frequencies, t.frequencies);
    const auto slots = expand_slots(back, name);
    EXPECT_EQ(slots.size(), size_t{1} << back.precision);
  }
}

// A worked example of docs/format.md.
TEST(Table, WorkedExample) {
  TableCode code;
  code.precision = 8;
  code.base = -2;
  code.symbols = 5;
  code.shift = 6;
  code.knots = {1, 4, 6, 4, 1};  // 2^0, 2^3, 2^5, 2^3, 2^0
  std::vector<uint32_t> f;
  ASSERT_TRUE(expand_table(code, f));
  EXPECT_EQ(f, (std::vector<uint32_t>{5, 41, 163, 41, 6}));
  code.spacing = 1;  // knots at the first, third, fifth symbol; those between on a line
  code.knots = {0, 4, 0};
  ASSERT_TRUE(expand_table(code, f));
  EXPECT_EQ(f, (std::vector<uint32_t>{9, 40, 157, 40, 10}));
}

TEST(Table, AbsentSymbolsHaveNoSlot) {
  TableCode code;
  code.precision = 8;
  code.symbols = 3;
  code.knots = {1, 0, 1};
  std::vector<uint32_t> f;
  ASSERT_TRUE(expand_table(code, f));
  EXPECT_EQ(f, (std::vector<uint32_t>{128, 0, 128}));
  code.knots = {0, 0, 0};
  EXPECT_FALSE(expand_table(code, f));
  code.knots = {1, kMaxLevel + 2, 1};
  EXPECT_FALSE(expand_table(code, f));
  code.symbols = 256;  // every slot taken by one symbol
  code.knots.assign(256, 7);
  ASSERT_TRUE(expand_table(code, f));
  EXPECT_EQ(f, std::vector<uint32_t>(256, 1));
  code.symbols = 257;
  code.knots.assign(257, 7);
  EXPECT_FALSE(expand_table(code, f));
}

TEST(Table, SmallTablesForSmoothCounts) {
  // A Gaussian at 8 bits: some 500 symbols, described in fewer bits than one each.
  Rng rng(2);
  Matrix<int32_t> codes(256, 256);
  for (int32_t& v : codes.values()) v = static_cast<int32_t>(std::lround(62 * rng.normal()));
  const Histogram h = histogram_of(codes);
  const FittedTable t = fit_table(h);
  EXPECT_LT(t.table_bits(), 300);
  // No more than the counts' own noise (half a nat for each symbol) above their entropy.
  EXPECT_LT(t.payload_bits, h.entropy_bits() + 0.73 * static_cast<double>(h.counts.size()) + 150);
}

TEST(Table, Histogram) {
  Matrix<int32_t> codes(3, 4);
  const int32_t values[] = {0, -1, 5, 0, 1 << 30, INT32_MIN, 0, 5, INT32_MAX, 9000, -9000, 5};
  std::copy(std::begin(values), std::end(values), codes.values().begin());
  const Histogram h = histogram_of(codes);
  EXPECT_EQ(h.counts, (std::vector<std::pair<int32_t, int64_t>>{{INT32_MIN, 1},
                                                                {-9000, 1},
                                                                {-1, 1},
                                                                {0, 3},
                                                                {5, 3},
                                                                {9000, 1},
                                                                {1 << 30, 1},
                                                                {INT32_MAX, 1}}));
  EXPECT_EQ(h.total, 12);
  Histogram sum;
  for (const std::vector<int64_t>& columns : {std::vector<int64_t>{1, 3}, {0, 2}})
    sum.add(histogram_of(codes, &columns));
  EXPECT_EQ(sum.counts, h.counts);
  EXPECT_EQ(sum.total, 12);
}

}  // namespace
}  // namespace watersic
