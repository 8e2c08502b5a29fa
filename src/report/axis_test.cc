#include "report/axis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace watersic::report {
namespace {

std::vector<std::string> labels(const Axis& axis) {
  std::vector<std::string> out;
  for (const auto& tick : axis.ticks()) out.push_back(tick.label);
  return out;
}
using Labels = std::vector<std::string>;

TEST(Axis, LinearIsWidenedToTicks) {
  EXPECT_EQ(labels(Axis::linear(0, 0.38, 4)), (Labels{"0.0", "0.1", "0.2", "0.3", "0.4"}));
  EXPECT_EQ(labels(Axis::linear(112.5, 127, 4)), (Labels{"110", "115", "120", "125", "130"}));
  EXPECT_EQ(labels(Axis::linear(-0.5, 0.5, 2)), (Labels{"−0.5", "0.0", "0.5"}));
}

TEST(Axis, AroundIsNot) {
  const Axis axis = Axis::around(1, 3, 5);
  EXPECT_DOUBLE_EQ(axis.low(), 0.9);
  EXPECT_DOUBLE_EQ(axis.high(), 3.1);
  EXPECT_EQ(labels(axis), (Labels{"1.0", "1.5", "2.0", "2.5", "3.0"}));
}

TEST(Axis, LogarithmicHasRoundTicks) {
  EXPECT_EQ(labels(Axis::logarithmic(0.003, 0.18, 5)),
            (Labels{"0.005", "0.01", "0.02", "0.05", "0.1", "0.2"}));
  EXPECT_EQ(labels(Axis::logarithmic(1e-6, 10, 4)), (Labels{"1e-6", "0.0001", "0.01", "1"}));
  EXPECT_DOUBLE_EQ(Axis::logarithmic(1, 100, 3).at(10), 50);
}

TEST(Axis, Places) {
  const Axis axis = Axis::places({"0", "1", "2", "3"}, 2);
  EXPECT_DOUBLE_EQ(axis.at(0), 12.5);
  EXPECT_DOUBLE_EQ(axis.at(3), 87.5);
  EXPECT_EQ(labels(axis), (Labels{"0", "2"}));
  EXPECT_DOUBLE_EQ(Axis::places({""}, 4).at(0), 50);
}

// Whatever the range: the data on the axis, some ticks but not many, all of them on it, rising,
// each with a label of its own.
TEST(Axis, HoldsAnyRange) {
  for (const double low : {-3.7e8, -120.0, -1e-7, 0.0, 1e-9, 0.0161, 1.0, 113.9, 4.2e9}) {
    for (const double width : {0.0, 1e-15, 1e-8, 1e-6, 0.003, 0.7, 2.0, 25.0, 1e7}) {
      const double high = low + width * std::max(1e-3, std::abs(low));
      for (const int ticks : {2, 3, 5, 12}) {
        std::vector<Axis> axes{Axis::linear(low, high, ticks), Axis::around(low, high, ticks)};
        if (low > 0) axes.push_back(Axis::logarithmic(low, high, ticks));
        for (const Axis& axis : axes) {
          const auto where = ::testing::Message() << low << " to " << high << ", " << ticks;
          EXPECT_GE(axis.at(low), -1e-6) << where;
          EXPECT_LE(axis.at(high), 100 + 1e-6) << where;
          EXPECT_GE(axis.ticks().size(), 1U) << where;
          EXPECT_LE(axis.ticks().size(), static_cast<size_t>(2 * ticks + 3)) << where;
          for (size_t i = 0; i < axis.ticks().size(); ++i) {
            const double at = axis.at(axis.ticks()[i].value);
            EXPECT_GE(at, -1e-6) << where;
            EXPECT_LE(at, 100 + 1e-6) << where;
            if (i > 0) {
              EXPECT_GT(at, axis.at(axis.ticks()[i - 1].value)) << where;
            }
          }
        }
      }
    }
  }
}

// Of the ends of what numbers there are something is left out.
TEST(Axis, LogarithmicOfTheLeastAndTheLargestNumbers) {
  for (const auto& [low, high] : {std::pair{5e-324, 1.7e308}, {1e300, 1.7e308}, {5e-324, 1e-320}}) {
    const Axis axis = Axis::logarithmic(low, high, 5);
    EXPECT_LE(axis.ticks().size(), 13U);
    EXPECT_TRUE(std::isfinite(axis.at(low)) && std::isfinite(axis.at(high)));
    EXPECT_LT(axis.low(), axis.high());
  }
}

TEST(Axis, LogarithmicWhereValuesArePositiveAndFarApart) {
  EXPECT_TRUE(axis_for({0.001, 0.1}, 4).is_logarithmic());
  EXPECT_FALSE(axis_for({0.0, 0.1}, 4).is_logarithmic());
  EXPECT_FALSE(axis_for({-1, 0.1}, 4).is_logarithmic());
  EXPECT_FALSE(axis_for({112.5, 127}, 4).is_logarithmic());
  EXPECT_TRUE(axis_for({10, 20}, 4, 1.5).is_logarithmic());
  EXPECT_FALSE(axis_for({0.5}, 4).is_logarithmic());
}

}  // namespace
}  // namespace watersic::report
