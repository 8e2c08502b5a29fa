#include "quant/bitshift_search.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "quant/bitshift_plan.h"

namespace watersic {
namespace {

std::vector<float> gaussian(Rng& rng, size_t count) {
  std::vector<float> u(count);
  for (float& x : u) x = static_cast<float>(rng.normal());
  return u;
}

struct Path {
  int start = 0;
  std::vector<uint16_t> windows;
  bool operator==(const Path&) const = default;
};
Path found(int memory, std::span<const float> u, std::span<const int32_t> rates, int64_t first = 0,
           int start = BitshiftSearch::kFree) {
  BitshiftSearch search(memory);
  Path path;
  path.windows.resize(u.size());
  path.start = search.follow(u, first, rates, start, path.windows);
  return path;
}

std::vector<double> values_of(const Path& path, int memory, std::span<const int32_t> rates,
                              int64_t first = 0) {
  std::vector<double> out;
  for (size_t row = 0; row < path.windows.size(); ++row) {
    const int64_t k = first + static_cast<int64_t>(row);
    const int rate = rates[static_cast<size_t>(k / kBitshiftRows - first / kBitshiftRows)];
    const int32_t value = code_value(memory, rate, path.windows[row], k % kBitshiftRows);
    out.push_back(rate == 0 ? 0 : value / kCodeDeviation);
  }
  return out;
}
double squared_error(std::span<const float> u, const std::vector<double>& v) {
  double sum = 0;
  for (size_t i = 0; i < u.size(); ++i) sum += (u[i] - v[i]) * (u[i] - v[i]);
  return sum;
}

// The definition, in float64: the least error of all paths. One rate.
double least_error(int memory, std::span<const float> u, int rate, int start) {
  const size_t states = size_t{1} << memory;
  std::vector<double> cost(states, start < 0 ? 0.0 : std::numeric_limits<double>::infinity());
  if (start >= 0) cost[state_of(memory, static_cast<uint32_t>(start))] = 0;
  for (size_t row = 0; row < u.size(); ++row) {
    const auto k = static_cast<int64_t>(row) % kBitshiftRows;
    const int bits = row_bits(rate, k);
    std::vector<double> next(states, std::numeric_limits<double>::infinity());
    for (size_t s = 0; s < states; ++s) {
      for (uint32_t z = 0; z < (1U << bits); ++z) {
        const uint32_t to = state_of(memory, next_window(static_cast<uint32_t>(s), z, bits));
        const double e = u[row] - code_value(memory, rate, to, k) / kCodeDeviation;
        next[to] = std::min(next[to], cost[s] + e * e);
      }
    }
    cost = next;
  }
  return *std::ranges::min_element(cost);
}

TEST(BitshiftSearch, FindsTheNearestPath) {
  Rng rng(1);
  const std::vector<float> u = gaussian(rng, 100);
  for (const int memory : {8, 9, 10}) {
    for (int rate = 1; rate <= kMostStageRate; ++rate) {
      const std::vector<int32_t> rates(2, rate);
      for (const int start : {BitshiftSearch::kFree, 0x5A00}) {
        const Path path = found(memory, u, rates, 0, start);
        uint32_t window = static_cast<uint32_t>(path.start);
        if (start >= 0) {
          EXPECT_EQ(path.start, start);
        }
        for (size_t row = 0; row < u.size(); ++row) {
          const int bits = row_bits(rate, static_cast<int64_t>(row) % kBitshiftRows);
          window = next_window(window, state_of(bits, path.windows[row]), bits);
          ASSERT_EQ(window, path.windows[row]) << "a window follows from the one before";
        }
        // Costs that are held to 16 bits lose a little.
        const double error = squared_error(u, values_of(path, memory, rates));
        const double least = least_error(memory, u, rate, start);
        EXPECT_GE(error, least * (1 - 1e-3));
        EXPECT_LE(error, least * 1.02) << memory << " " << rate << " " << start;
      }
    }
  }
}

TEST(BitshiftSearch, IsTheSameOnAllTargets) {
  Rng rng(2);
  const std::vector<float> u = gaussian(rng, 200);
  for (const int memory : {8, 11, 16}) {
    for (int rate = 0; rate <= kMostStageRate; rate += memory == 16 ? 3 : 1) {
      const std::vector<int32_t> rates{rate, std::min(rate + 3, kMostStageRate), 0, rate};
      const Path path = found(memory, u, rates, 20);
      for (int64_t targets = hwy::SupportedTargets() | HWY_EMU128; targets != 0;
           targets &= targets - 1) {
        hwy::SetSupportedTargetsForTest(targets & -targets);
        EXPECT_EQ(found(memory, u, rates, 20), path) << hwy::TargetName(targets & -targets);
      }
      hwy::SetSupportedTargetsForTest(0);
    }
  }
}

// Bits above the rate-distortion function of a Gaussian.
TEST(BitshiftSearch, IsNearTheLimit) {
  Rng rng(3);
  const std::vector<float> u = gaussian(rng, 4096);
  const auto gap = [&](int memory, int rate) {
    const std::vector<int32_t> rates(64, rate);
    const double bits = rate / 4.0, scale = code_width(rate) * std::sqrt(1 - std::exp2(-2 * bits));
    std::vector<float> scaled = u;
    for (float& x : scaled) x = static_cast<float>(std::clamp(double{x}, -3.3, 3.3) / scale);
    const double error =
        squared_error(scaled, values_of(found(memory, scaled, rates), memory, rates));
    return bits + 0.5 * std::log2(scale * scale * error / static_cast<double>(u.size()));
  };
  EXPECT_LT(gap(12, 2), 0.06);
  EXPECT_LT(gap(12, 4), 0.10);
  EXPECT_LT(gap(12, 8), 0.14);
  EXPECT_LT(gap(12, 12), 0.16);
  EXPECT_LT(gap(12, 16), 0.24);
  EXPECT_LT(gap(12, 20), 0.31);
  EXPECT_LT(gap(10, 8), 0.20);
}

}  // namespace
}  // namespace watersic
