#include "quant/limit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace watersic {
namespace {

TEST(Limit, WhiteSourceIsShannons) {
  const std::vector<double> ones(8, 1.0);
  const Limit limit = rate_at_distortion(ones, 4.0, 0.25);
  EXPECT_NEAR(limit.bits, 2.0, 1e-12);
  EXPECT_NEAR(limit.water_level, 0.25, 1e-12);
  EXPECT_EQ(limit.active, 8);
}

TEST(Limit, WithEveryComponentActiveOnlyTheDeterminantCounts) {
  const std::vector<double> values{4.0, 1.0, 0.25, 2.0};
  const double D = 0.01, geometric = std::pow(4.0 * 1.0 * 0.25 * 2.0, 0.25);
  EXPECT_NEAR(rate_at_distortion(values, 1.5, D).bits, 0.5 * std::log2(1.5 * geometric / D), 1e-12);
}

TEST(Limit, ComponentsUnderTheWaterCostNothing) {
  const std::vector<double> values{16.0, 0.1, 0.1, -1e-12};
  const Limit limit = rate_at_distortion(values, 1.0, (1.0 + 0.2) / 4);  // theta = 1
  EXPECT_EQ(limit.active, 1);
  EXPECT_NEAR(limit.water_level, 1.0, 1e-12);
  EXPECT_NEAR(limit.bits, 0.5 * std::log2(16.0) / 4, 1e-12);
  EXPECT_EQ(rate_at_distortion(values, 1.0, 5.0).bits, 0.0);
  EXPECT_TRUE(std::isinf(rate_at_distortion(values, 1.0, 0.0).bits));
}

TEST(Limit, RateAndDistortionAreInverse) {
  std::vector<double> values;
  for (int i = 1; i <= 100; ++i) values.push_back(1.0 / i / i);
  double last = 1e300;
  for (double bits = 0.05; bits < 6; bits += 0.05) {
    const double D = distortion_at_rate(values, 0.7, bits);
    EXPECT_LT(D, last);
    last = D;
    EXPECT_NEAR(rate_at_distortion(values, 0.7, D).bits, bits, 1e-10);
  }
}

TEST(Limit, OfAProductIsThatOfAllPairs) {
  const std::vector<double> inputs{4, 1, 0.25}, outputs{2, 0.5};
  std::vector<double> pairs = product_spectrum(inputs, outputs);
  std::sort(pairs.begin(), pairs.end());
  EXPECT_EQ(pairs, (std::vector<double>{0.125, 0.5, 0.5, 2, 2, 8}));
  // Many are taken together, which hardly matters.
  std::vector<double> many;
  for (int i = 0; i < 2000; ++i) many.push_back(std::exp2(-0.005 * i));
  const double exact = rate_at_distortion(many, 1, 0.01).bits,
               thinned =
                   rate_at_distortion(product_spectrum(many, std::vector<double>{1}), 1, 0.01).bits;
  EXPECT_NEAR(thinned, exact, 1e-3);
}

}  // namespace
}  // namespace watersic
