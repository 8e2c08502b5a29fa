#include "quant/bitshift_plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>

#include "base/rng.h"

namespace watersic {
namespace {

TEST(BitshiftPlan, LevelsFollowTheWaterLevel) {
  const std::vector<double> spread{0.001, 0.1, 1, 2, 4, 1000};
  const std::vector<int32_t> levels = levels_at(spread, 0.1);
  for (size_t i = 1; i < levels.size(); ++i) EXPECT_LE(levels[i - 1], levels[i]);
  // What is not worth a bit has a level at which wider rows would have one.
  EXPECT_LT(levels[0], levels[1]);
  EXPECT_LE(levels[1], 0);
  for (const size_t i : {2U, 3U, 4U}) {
    const double bits = 0.5 * std::log2(1 + spread[i] * spread[i] / 0.1);
    EXPECT_NEAR(levels[i] / 4.0, bits, 0.25);
  }
  EXPECT_GT(levels[5], kMostStageRate + 16);
  // A second stage of less than a bit is worth little.
  for (double s = 1; s < 1e4; s *= 1.01) {
    const int level = levels_at(std::vector<double>{s}, 1).front();
    EXPECT_TRUE(level <= kMostStageRate || level % kMostStageRate == 0 ||
                level % kMostStageRate >= 4);
  }
}

// Products take whole vectors of columns.
TEST(BitshiftPlan, LevelsFillVectors) {
  Rng rng(4);
  std::vector<double> spread;
  for (int i = 0; i < 1000; ++i) spread.push_back(std::exp(rng.normal()));
  spread.push_back(1e5);  // alone, and to be left so
  for (const double water : {0.02, 0.2, 1.0}) {
    const std::vector<int32_t> levels = levels_at(spread, water);
    std::map<int32_t, int> counts;
    double cost = 0;
    for (size_t i = 0; i < spread.size(); ++i) {
      const int32_t alone = levels_at(std::span(spread).subspan(i, 1), water).front();
      // It is at the level where it would be, or at a neighbour.
      EXPECT_LE(std::abs(std::max(0, levels[i]) - std::max(0, alone)), 1) << i;
      // A rate that is x bits off costs x^2 ln 2, what it gives or takes elsewhere counted.
      const auto cost_of = [&](int32_t level) {
        const double off = std::log2(level_distortion(std::max(0, level)) *
                                     (spread[i] * spread[i] + water) / water) /
                           2;
        return off * off * std::numbers::ln2 / static_cast<double>(spread.size());
      };
      cost += cost_of(levels[i]) - cost_of(alone);
      ++counts[levels[i]];
    }
    EXPECT_EQ(counts[levels.back()], 1) << "alone";
    int odd = 0;
    for (const auto& [level, count] : counts) odd += level > 0 && count % kBitshiftVector != 0;
    EXPECT_LE(odd, 6) << "the one alone, and where no neighbour is near";
    EXPECT_LT(cost, 0.002);
  }
}

TEST(BitshiftPlan, TakesTheBytesItIsGiven) {
  Rng rng(1);
  BitshiftPlan plan;
  for (int i = 0; i < 300; ++i) plan.spread.push_back(std::exp(rng.normal()));
  for (int k = 0; k < 500; ++k) plan.row_spread.push_back(std::exp(0.3 * rng.normal()));
  plan.offsets = tile_offsets(plan.row_spread);
  plan.segment_rows = 512;
  double water = 1e300;
  for (const int64_t bytes : {5000, 20000, 60000, 100000}) {
    allocate(plan, 500, bytes);
    const int64_t taken = BitshiftLayout(500, 512, plan.levels, plan.offsets).payload_bytes();
    EXPECT_LE(taken, bytes);
    EXPECT_GT(taken, bytes - 500) << "two levels of a column are 256 bytes";
    EXPECT_LT(plan.water, water);
    water = plan.water;
  }
}

TEST(BitshiftPlan, SortedRowsShareRatesWell) {
  Rng rng(2);
  std::vector<double> spread;
  for (int k = 0; k < 640; ++k) spread.push_back(std::exp(rng.normal()));
  const double mixed = uneven_bits(spread);
  std::ranges::sort(spread);
  const double sorted = uneven_bits(spread);
  EXPECT_NEAR(mixed, 1.4, 0.15);  // 1/2 log2(e^2): of a lognormal's mean square over its mean
  EXPECT_LT(sorted, 0.15);
  EXPECT_EQ(uneven_bits(std::vector<double>(100, 3.0)), 0);
  // A tile of rows twice as wide has a bit more.
  std::vector<double> two(128, 1.0);
  std::fill(two.begin() + 64, two.end(), 2.0);
  EXPECT_EQ(tile_offsets(two), (std::vector<int32_t>{-2, 2}));
}

TEST(BitshiftPlan, StagesMultiply) {
  EXPECT_EQ(level_distortion(0), 1);
  for (int level = 1; level <= kMostLevel; ++level)
    EXPECT_LT(level_distortion(level), level_distortion(level - 1));
  EXPECT_DOUBLE_EQ(level_distortion(32), level_distortion(24) * level_distortion(8));
}

}  // namespace
}  // namespace watersic
