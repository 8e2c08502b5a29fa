#include <gtest/gtest.h>

#include "base/rng.h"
#include "coding/common_rans.h"
#include "coding/dec_bits.h"
#include "coding/enc_bits.h"

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

TEST(Bits, Zigzag) {
  for (const int64_t v : {0L, -1L, 1L, -2L, 1L << 40, -(1L << 40)})
    EXPECT_EQ(unzigzag(zigzag(v)), v);
  EXPECT_EQ(zigzag(-1), 1U);
  EXPECT_EQ(zigzag(1), 2U);
}

}  // namespace
}  // namespace watersic
