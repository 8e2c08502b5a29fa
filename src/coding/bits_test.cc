#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "coding/common_rans.h"
#include "coding/dec_bits.h"
#include "coding/dec_sequence.h"
#include "coding/enc_bits.h"
#include "coding/enc_sequence.h"
#include "support/error_of.h"

namespace watersic {
namespace {

TEST(Bits, RoundTrip) {
  Rng rng(1);
  std::vector<std::pair<uint64_t, int>> items;
  BitWriter out;
  BitCounter counter;
  for (int i = 0; i < 5000; ++i) {
    const auto width = static_cast<int>(rng.below(33));
    const uint64_t v = rng.bits() & ((uint64_t{1} << width) - 1);
    items.emplace_back(v, width);
    const auto k = static_cast<int>(rng.below(32));
    out.bits(v, width);
    out.exp_golomb(v, k);
    counter.bits(v, width);
    counter.exp_golomb(v, k);
  }
  EXPECT_EQ(out.size(), counter.size());
  const auto words = out.finish();
  Rng again(1);
  const std::string name = "bits";
  BitReader in(WordSpan(std::as_bytes(std::span(words))), name);
  for (const auto& [v, width] : items) {
    again.below(33);
    again.bits();
    EXPECT_EQ(in.bits(width), v);
    EXPECT_EQ(in.exp_golomb(static_cast<int>(again.below(32))), v);
  }
  EXPECT_EQ(in.finish(), words.size());
  EXPECT_THROW(in.bits(1), Error);
}

// As docs/format.md has it.
TEST(Bits, ExpGolombByHand) {
  BitWriter out;
  out.exp_golomb(0, 0);  // 1
  out.exp_golomb(2, 0);  // 0 1 1
  out.exp_golomb(5, 2);  // 0 1 then 001, lowest first: 1 0 0
  EXPECT_EQ(out.size(), 9);
  EXPECT_EQ(out.finish(), (std::vector<uint16_t>{0b001101101}));
}

TEST(Bits, LongNumbersAndPaddingAreErrors) {
  const std::string name = "bits";
  const std::vector<uint16_t> zeros(8, 0), ones(1, 0xFFFF);
  BitReader in(WordSpan(std::as_bytes(std::span(zeros))), name);
  EXPECT_THROW(in.exp_golomb(0), Error);
  BitReader padded(WordSpan(std::as_bytes(std::span(ones))), name);
  padded.bits(3);
  EXPECT_THROW(padded.finish(), Error);
}

// Bits and symbols in one stream.
TEST(Bits, HeadWithSymbols) {
  const std::vector<uint32_t> frequencies = {200, 1, 40, 0, 15};
  const uint32_t starts[] = {0, 200, 201, 241, 241};
  Rng rng(3);
  HeadWriter out;
  std::vector<size_t> symbols;
  for (int i = 0; i < 3000; ++i) {
    size_t s = rng.below(5);
    if (s == 3 || rng.below(2) == 0) s = 0;
    symbols.push_back(s);
    out.symbol(starts[s], frequencies[s], 8);
    if (i % 3 == 0) out.exp_golomb(static_cast<uint64_t>(i), 4);
  }
  const auto words = out.finish();
  const std::string name = "head";
  BitReader in(WordSpan(std::as_bytes(std::span(words))), name);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(in.symbol(frequencies, 8), symbols[static_cast<size_t>(i)]);
    if (i % 3 == 0) {
      ASSERT_EQ(in.exp_golomb(4), static_cast<uint64_t>(i));
    }
  }
  EXPECT_EQ(in.finish(), words.size());
}

TEST(Bits, Sequences) {
  Rng rng(4);
  std::vector<std::vector<int64_t>> sequences = {
      {}, {7}, {-5, -5, -5}, {0, 1LL << 38, -(1LL << 38)}};
  for (const double spread : {0.2, 1.0, 7.0, 100.0, 3000.0, 1e6}) {
    std::vector<int64_t> values;
    for (int i = 0; i < 700; ++i) values.push_back(std::llround(spread * (3 + rng.normal())));
    sequences.push_back(values);
    values[9] = 1 << 30;  // an outlier
    sequences.push_back(values);
    for (int64_t& v : values) v = v > 3 * spread ? 11 : -200;
    sequences.push_back(values);
  }
  const std::string name = "sequence";
  HeadWriter out;
  for (const auto& s : sequences) write_sequence(out, s);
  const auto words = out.finish();
  BitReader in(WordSpan(std::as_bytes(std::span(words))), name);
  double bits = 20;
  for (const auto& s : sequences) {
    EXPECT_EQ(read_sequence(in, static_cast<int64_t>(s.size()), -(1LL << 40), 1LL << 40, "x", name),
              s);
    bits += sequence_bits(s);
  }
  EXPECT_NEAR(static_cast<double>(in.size()), bits, 0.01 * bits);
  EXPECT_EQ(in.finish(), words.size());
  // A Gaussian of spread 7 has 4.85 bits of entropy.
  EXPECT_LT(sequence_bits(sequences[10]), 700 * 4.93 + 20);
}

// They cost nothing to write, and must not cost much to read.
TEST(Bits, EqualNumbersAreBoundedByTheLength) {
  HeadWriter out;
  write_sequence(out, std::vector<int64_t>(1 << 20, 7));
  const auto words = out.finish();
  const std::string name = "sequence";
  const auto read = [&](int64_t count) {
    BitReader in(WordSpan(std::as_bytes(std::span(words))), name);
    return read_sequence(in, count, 0, 10, "x", name).size();
  };
  EXPECT_EQ(read(1 << 20), size_t{1} << 20);
  EXPECT_NE(error_of([&] { read((1 << 20) + 10000); }).find("x: 1058576 are too many"),
            std::string::npos);
}

TEST(Bits, Zigzag) {
  for (const int64_t v : {0L, -1L, 1L, -2L, 1L << 40, -(1L << 40)})
    EXPECT_EQ(unzigzag(zigzag(v)), v);
  EXPECT_EQ(zigzag(-1), 1U);
  EXPECT_EQ(zigzag(1), 2U);
}

}  // namespace
}  // namespace watersic
