// Numbers: the 16-bit formats and the random generator.
#include <gtest/gtest.h>

#include <cmath>

#include "base/half.h"
#include "base/rng.h"

namespace watersic {
namespace {

TEST(Half, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const auto bits = static_cast<uint16_t>(h);
    const float half = float_from_half(bits);
    const float bf16 = float_from_bf16(bits);
    if (!std::isnan(half)) {
      EXPECT_EQ(half_from_float(half), bits);
    }
    if (!std::isnan(bf16)) {
      EXPECT_EQ(bf16_from_float(bf16), bits);
    }
  }
  EXPECT_TRUE(std::isnan(float_from_half(half_from_float(NAN))));
  EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(NAN))));
}

TEST(Half, KnownValuesAndTies) {
  EXPECT_EQ(half_from_float(1.0F), 0x3C00);
  EXPECT_EQ(half_from_float(65504.0F), 0x7BFF);
  EXPECT_EQ(half_from_float(65520.0F), 0x7C00);
  EXPECT_EQ(half_from_float(-0x1p-24F), 0x8001);
  EXPECT_EQ(half_from_float(0x1p-25F), 0x0000);         // a tie, to even
  EXPECT_EQ(half_from_float(1.0F + 0x1p-11F), 0x3C00);  // a tie, to even
  EXPECT_EQ(half_from_float(1.0F + 0x3p-11F), 0x3C02);
  EXPECT_EQ(bf16_from_float(1.0F + 0x1p-8F), 0x3F80);
  EXPECT_EQ(bf16_from_float(1.0F + 0x3p-8F), 0x3F82);
}

TEST(Half, RoundsToTheNearest) {
  Rng rng(1);
  for (int i = 0; i < 100000; ++i) {
    const auto f = static_cast<float>(rng.normal() * std::exp2(20 * rng.uniform() - 12));
    const uint16_t h = half_from_float(f);
    const float error = std::abs(float_from_half(h) - f);
    EXPECT_LE(error, std::abs(float_from_half(static_cast<uint16_t>(h + 1)) - f));
    EXPECT_LE(error, std::abs(float_from_half(static_cast<uint16_t>(h - 1)) - f));
  }
}

TEST(Rng, MomentsAndRepeatability) {
  Rng a(7);
  Rng b(7);
  double mean = 0;
  double square = 0;
  const int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double x = a.normal();
    EXPECT_EQ(x, b.normal());
    mean += x / n;
    square += x * x / n;
  }
  EXPECT_NEAR(mean, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(square, 1, 10 / std::sqrt(n));
}

TEST(Rng, ChoosesDistinctNumbersInOrder) {
  Rng rng(3);
  const auto chosen = rng.choose(1000, 100);
  ASSERT_EQ(chosen.size(), 100U);
  for (size_t i = 1; i < chosen.size(); ++i) EXPECT_LT(chosen[i - 1], chosen[i]);
  EXPECT_GE(chosen.front(), 0);
  EXPECT_LT(chosen.back(), 1000);
  EXPECT_EQ(rng.choose(5, 5).size(), 5U);
}

}  // namespace
}  // namespace watersic
