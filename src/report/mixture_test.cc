#include "report/mixture.h"

#include <gtest/gtest.h>

#include <numeric>

namespace watersic::report {
namespace {

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(Mixture, QuantileBetweenTwoIsLinear) {
  const Quantiles q{0, 1, 4};
  EXPECT_DOUBLE_EQ(quantile(q, 0), 0);
  EXPECT_DOUBLE_EQ(quantile(q, 0.25), 0.5);
  EXPECT_DOUBLE_EQ(quantile(q, 0.75), 2.5);
  EXPECT_DOUBLE_EQ(quantile(q, 1), 4);
}

TEST(Mixture, OfTwoUniforms) {
  Mixture mixture;
  mixture.add({0, 1, 2}, 3);  // uniform on [0, 2]
  mixture.add({1, 2, 3}, 1);  // uniform on [1, 3]
  EXPECT_DOUBLE_EQ(mixture.weight(), 4);
  EXPECT_DOUBLE_EQ(mixture.below(0), 0);
  EXPECT_DOUBLE_EQ(mixture.below(1), 0.375);
  EXPECT_DOUBLE_EQ(mixture.below(2), 0.875);
  EXPECT_DOUBLE_EQ(mixture.below(3), 1);
  EXPECT_NEAR(mixture.quantile(0.375), 1, 1e-12);
  EXPECT_DOUBLE_EQ(mixture.quantile(0), 0);
  EXPECT_DOUBLE_EQ(mixture.quantile(1), 3);
  const auto shares = mixture.shares(0, 3, 3);
  EXPECT_DOUBLE_EQ(shares[0], 0.375);
  EXPECT_DOUBLE_EQ(shares[1], 0.5);
  EXPECT_DOUBLE_EQ(shares[2], 0.125);
}

TEST(Mixture, OfEqualValuesStandsInOneBin) {
  Mixture mixture;
  mixture.add({1, 1, 1, 1, 1}, 2);
  for (const size_t count : {1, 2, 7}) {
    const auto shares = mixture.shares(0, 2, count);
    EXPECT_DOUBLE_EQ(sum(shares), 1);
    EXPECT_DOUBLE_EQ(*std::max_element(shares.begin(), shares.end()), 1);
  }
  EXPECT_DOUBLE_EQ(sum(mixture.shares(1, 2, 4)), 1);  // at the lower end
  EXPECT_DOUBLE_EQ(sum(mixture.shares(0, 1, 4)), 1);  // at the upper end
  EXPECT_DOUBLE_EQ(sum(mixture.shares(2, 3, 4)), 0);
  EXPECT_NEAR(mixture.quantile(0.5), 1, 1e-12);
}

TEST(Mixture, PartlyEqualValuesKeepTheirShare) {
  Mixture mixture;
  mixture.add({0, 1, 1, 1, 2}, 1);  // a quarter below 1, a half at 1, a quarter above
  EXPECT_DOUBLE_EQ(mixture.below(0.5), 0.125);
  EXPECT_DOUBLE_EQ(mixture.below(1), 0.75);
  const auto shares = mixture.shares(0, 2, 2);
  EXPECT_DOUBLE_EQ(shares[0], 0.25);
  EXPECT_DOUBLE_EQ(shares[1], 0.75);
}

TEST(Mixture, WithoutWeightIsEmpty) {
  Mixture mixture;
  mixture.add({}, 1);
  mixture.add({1, 2}, 0);
  EXPECT_TRUE(mixture.empty());
}

}  // namespace
}  // namespace watersic::report
