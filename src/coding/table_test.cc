// Frequency tables: what they are expanded to, and how well they fit.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "base/rng.h"
#include "coding/common_gauss.h"
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
    EXPECT_EQ(std::accumulate(t.table.frequencies.begin(), t.table.frequencies.end(), 0U),
              1U << t.precision);
    for (const auto& [v, count] : counts) {
      const int64_t i = int64_t{v} - t.code.base;
      const bool inside = i >= 0 && i < t.code.symbols;
      EXPECT_TRUE(inside || t.code.escape);
      if (inside) {
        EXPECT_GT(t.table.frequencies[static_cast<size_t>(i)], 0U);
      }
    }
    BitWriter out;
    write_table(out, t.code);
    EXPECT_EQ(out.size(), t.table_bits());
    const std::vector<uint16_t> words = out.finish();
    const std::string name = "table";
    BitReader in(WordSpan(std::as_bytes(std::span(words))), name);
    const TableCode back = read_table(in, name);
    SymbolTable expanded;
    ASSERT_TRUE(expand_table(back, t.precision, expanded));
    EXPECT_EQ(expanded.frequencies, t.table.frequencies);
    EscapeBits escapes{};
    const Histogram h = histogram(counts);
    const double states =
        t.code.alphabet() > 1 ? static_cast<double>(h.total) * state_loss(t.precision) : 0;
    EXPECT_NEAR(payload_bits(h, t.table, t.precision, escapes) + states, t.payload_bits, 1e-6);
    EXPECT_EQ(escapes, t.escape_bits);
  }
}

TEST(Table, EscapesComeBack) {
  SymbolTable table;
  for (const int base : {-7, -6, 0, 5}) {
    for (const int n : {1, 2, 9, 10}) {
      table.base = base;
      table.symbols = n;
      std::set<std::pair<bool, uint64_t>> codes;
      for (int64_t v = -60; v < 60; ++v) {
        if (table.holds(static_cast<int32_t>(v))) continue;
        const uint64_t code = escape_code(table, v);
        EXPECT_EQ(escape_value(table, (v & 1) != 0, code), v);
        EXPECT_TRUE(codes.emplace((v & 1) != 0, code).second);
        EXPECT_LT(code, 130U);
      }
    }
  }
}

// Sampled Gaussians: as wide as asked, the tails in the escapes.
TEST(Table, Gaussians) {
  for (int spread = 0; spread < kSpreads; ++spread) {
    for (const int q : {0, 1}) {
      SymbolTable t;
      ASSERT_TRUE(gaussian_table(spread, q, 14, 1, true, t));
      EXPECT_EQ(std::accumulate(t.frequencies.begin(), t.frequencies.end(), 0U), 1U << 14);
      double squares = 0;
      for (int64_t i = 0; i < t.symbols; ++i) {
        const double z = static_cast<double>(t.base + i) + 0.5 * q;
        squares += z * z * t.frequencies[static_cast<size_t>(i)] / (1 << 14);
        const auto other = static_cast<size_t>(t.symbols - 1 - i);
        EXPECT_NEAR(t.frequencies[static_cast<size_t>(i)], t.frequencies[other], 1);
      }
      const double s = std::exp2((spread - kUnitSpread) / 8.0);
      if (s > 0.6 && s < 100) {
        EXPECT_NEAR(squares / (s * s), 1, 0.02) << spread;
      }
    }
  }
}

// The worked examples of docs/format.md.
TEST(Table, WorkedExamples) {
  SymbolTable g;
  ASSERT_TRUE(gaussian_table(32, 0, 8, 0, true, g));
  EXPECT_EQ(g.base, -3);
  EXPECT_EQ(g.frequencies, (std::vector<uint32_t>{1, 13, 62, 101, 62, 13, 2, 1, 1}));
  ASSERT_TRUE(gaussian_table(32, 1, 8, 0, true, g));
  EXPECT_EQ(g.base, -3);
  EXPECT_EQ(g.frequencies, (std::vector<uint32_t>{4, 33, 90, 89, 33, 5, 1, 1}));
  TableCode code;
  code.base = -2;
  code.symbols = 5;
  code.shift = 6;
  code.knots = {1, 4, 6, 4, 1};  // 2^0, 2^3, 2^5, 2^3, 2^0
  SymbolTable t;
  const std::vector<uint32_t>& f = t.frequencies;
  ASSERT_TRUE(expand_table(code, 8, t));
  EXPECT_EQ(f, (std::vector<uint32_t>{5, 41, 163, 41, 6}));
  code.spacing = 1;  // knots at the first, third, fifth symbol; those between on a line
  code.knots = {0, 4, 0};
  ASSERT_TRUE(expand_table(code, 8, t));
  EXPECT_EQ(f, (std::vector<uint32_t>{9, 40, 157, 40, 10}));
}

TEST(Table, AbsentSymbolsHaveNoSlot) {
  TableCode code;
  code.symbols = 3;
  code.knots = {1, 0, 1};
  SymbolTable t;
  const std::vector<uint32_t>& f = t.frequencies;
  ASSERT_TRUE(expand_table(code, 8, t));
  EXPECT_EQ(f, (std::vector<uint32_t>{128, 0, 128}));
  code.knots = {0, 0, 0};
  EXPECT_FALSE(expand_table(code, 8, t));
  code.knots = {1, kMaxLevel + 2, 1};
  EXPECT_FALSE(expand_table(code, 8, t));
  code.symbols = 256;  // every slot taken by one symbol
  code.knots.assign(256, 7);
  ASSERT_TRUE(expand_table(code, 8, t));
  EXPECT_EQ(f, std::vector<uint32_t>(256, 1));
  code.symbols = 257;
  code.knots.assign(257, 7);
  EXPECT_FALSE(expand_table(code, 8, t));
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
  ClassCounter counter(2);
  for (int64_t i = 0; i < 12; ++i)
    counter.add(static_cast<int>(i & 1), codes.values()[static_cast<size_t>(i)]);
  for (const Histogram& part : counter.histograms()) sum.add(part);
  EXPECT_EQ(sum.counts, h.counts);
  EXPECT_EQ(sum.total, 12);
}

}  // namespace
}  // namespace watersic
