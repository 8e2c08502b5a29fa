// The Viterbi algorithm against its definition, on every instruction set that this CPU has.
#include "quant/viterbi.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"

namespace watersic {
namespace {

constexpr std::array kStates = {4, 8, 16, 32, 64, 128, 256};

std::vector<float> gaussian(Rng& rng, size_t rows, double spread) {
  std::vector<float> y(rows);
  for (float& x : y) x = static_cast<float>(spread * rng.normal());
  return y;
}
// On this grid the integer metrics are exact.
void round_to_grid(std::vector<float>& y) {
  for (float& x : y) x = std::round(x * 1024) / 1024;
}

std::vector<int32_t> quantized(const Trellis& trellis, const std::vector<float>& y,
                               int64_t segment_rows, int threads = 1) {
  ThreadPool pool(threads);
  std::vector<int32_t> m(y.size(), -1);
  Viterbi(pool, trellis).quantize(y, segment_rows, m);
  return m;
}
std::vector<int32_t> reference(const Trellis& trellis, const std::vector<float>& y,
                               int64_t segment_rows) {
  std::vector<int32_t> m(y.size(), -1);
  viterbi_reference(trellis, y, segment_rows, m);
  return m;
}

double squared_error(const std::vector<float>& y, const std::vector<int32_t>& m) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double error = y[i] - 0.5 * m[i];
    sum += error * error;
  }
  return sum;
}

// m is a path of the trellis: decoding its k gives it back.
void expect_path(const Trellis& trellis, const std::vector<int32_t>& m, int64_t segment_rows) {
  for (size_t begin = 0; begin < m.size(); begin += static_cast<size_t>(segment_rows)) {
    const size_t rows = std::min(m.size() - begin, static_cast<size_t>(segment_rows));
    std::vector<int32_t> k(rows);
    std::vector<int32_t> decoded(rows);
    for (size_t i = 0; i < rows; ++i) k[i] = m[begin + i] >> 1;
    trellis.decode(k, decoded);
    for (size_t i = 0; i < rows; ++i) ASSERT_EQ(decoded[i], m[begin + i]) << begin + i;
  }
}

void on_each_target(const std::function<void()>& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(Viterbi, EqualsTheReferenceOnTheGridOnEveryTarget) {
  Rng rng(1);
  for (const int states : kStates) {
    const Trellis& trellis = Trellis::of(states);
    for (const size_t rows : {0, 1, 2, 7, 64, 65, 333, 2000})
      for (const int64_t segment : {1, 3, 50, 129, 500, 5000}) {
        std::vector<float> y = gaussian(rng, rows, 3);
        round_to_grid(y);
        const std::vector<int32_t> expected = reference(trellis, y, segment);
        expect_path(trellis, expected, segment);
        on_each_target([&] {
          EXPECT_EQ(quantized(trellis, y, segment), expected)
              << states << " states, " << rows << " rows, segments of " << segment;
        });
      }
  }
}

TEST(Viterbi, OffTheGridTheErrorIsTheReferencesWithinTheRounding) {
  Rng rng(2);
  for (const int states : kStates) {
    const Trellis& trellis = Trellis::of(states);
    const std::vector<float> y = gaussian(rng, 3000, 2);
    const std::vector<int32_t> expected = reference(trellis, y, 1100);
    const std::vector<int32_t> found = quantized(trellis, y, 1100);
    expect_path(trellis, found, 1100);
    const double least = squared_error(y, expected);
    EXPECT_GE(squared_error(y, found), least * (1 - 1e-12));
    EXPECT_LE(squared_error(y, found), least * (1 + 1e-5));
    on_each_target([&] { EXPECT_EQ(quantized(trellis, y, 1100), found); });
  }
}

TEST(Viterbi, ThreadsAndCallsDoNotMatter) {
  Rng rng(3);
  const Trellis& trellis = Trellis::of(32);
  const std::vector<float> y = gaussian(rng, 1999, 2);
  const std::vector<int32_t> whole = quantized(trellis, y, 100);
  for (const int threads : {2, 3, 7}) EXPECT_EQ(quantized(trellis, y, 100, threads), whole);
  ThreadPool pool(1);
  Viterbi viterbi(pool, trellis);
  for (size_t begin = 0; begin < y.size(); begin += 100) {  // one segment a call
    const size_t rows = std::min<size_t>(100, y.size() - begin);
    std::vector<int32_t> m(rows);
    viterbi.quantize(std::span(y).subspan(begin, rows), 4096, m);
    for (size_t i = 0; i < rows; ++i) ASSERT_EQ(m[i], whole[begin + i]);
  }
}

// All paths of few rows, each value the integer of its coset nearest to y or farther off.
double least_of_all(const Trellis& trellis, const std::vector<float>& y, size_t row, int state) {
  if (row == y.size()) return 0;
  double least = std::numeric_limits<double>::infinity();
  const int near = static_cast<int>(std::floor(y[row]));
  for (int k = near - 3; k <= near + 3; ++k) {
    int next = state;
    const double error = y[row] - 0.5 * trellis.step(next, k);
    if (std::abs(error) > 2) continue;
    least = std::min(least, error * error + least_of_all(trellis, y, row + 1, next));
  }
  return least;
}

TEST(Viterbi, NoPathIsBetter) {
  Rng rng(4);
  for (const int states : {4, 8, 16, 256})
    for (int draw = 0; draw < 20; ++draw) {
      std::vector<float> y = gaussian(rng, 6, 2);
      round_to_grid(y);
      const Trellis& trellis = Trellis::of(states);
      const double least = least_of_all(trellis, y, 0, 0);
      EXPECT_EQ(squared_error(y, quantized(trellis, y, 100)), least);
      EXPECT_EQ(squared_error(y, reference(trellis, y, 100)), least);
    }
}

TEST(Viterbi, MeanSquaredErrorHasTheGranularGain) {
  const std::array gain = {1.00, 1.09, 1.14, 1.21, 1.26, 1.30, 1.34};
  Rng rng(5);
  std::vector<float> uniform(size_t{1} << 19);
  for (float& x : uniform) x = static_cast<float>(200 * rng.uniform() - 100);
  const std::vector<float> normal = gaussian(rng, uniform.size(), 20);
  for (size_t i = 0; i < kStates.size(); ++i)
    for (const std::vector<float>& y : {uniform, normal}) {
      const double error = squared_error(y, quantized(Trellis::of(kStates[i]), y, 1 << 17)) /
                           static_cast<double>(y.size());
      EXPECT_NEAR(-10 * std::log10(12 * error), gain[i], 0.03) << kStates[i] << " states";
    }
}

// Integers far from 0, where a float has no bits left for a fraction, and bounds beyond them.
TEST(Viterbi, LargeValuesStayOnThePath) {
  Rng rng(6);
  for (const int states : kStates) {
    const Trellis& trellis = Trellis::of(states);
    for (const double spread : {1e3, 1e6, 1e7, 1e8}) {
      const std::vector<float> y = gaussian(rng, 700, spread);
      const std::vector<int32_t> m = quantized(trellis, y, 300);
      expect_path(trellis, m, 300);
      for (size_t i = 0; i < y.size(); ++i)
        EXPECT_LE(std::abs(y[i] - 0.5 * m[i]), std::max(1.0, std::abs(y[i]) * 0x1p-22)) << y[i];
      EXPECT_LE(squared_error(y, m), squared_error(y, reference(trellis, y, 300)) * (1 + 1e-3));
      on_each_target([&] { EXPECT_EQ(quantized(trellis, y, 300), m); });
    }
    std::vector<float> beyond(9, 3e38F);
    beyond[4] = -3e38F;
    beyond[5] = std::numeric_limits<float>::infinity();
    const std::vector<int32_t> m = quantized(trellis, beyond, 300);
    expect_path(trellis, m, 300);
    for (size_t i = 0; i < m.size(); ++i) EXPECT_NEAR(m[i], beyond[i] > 0 ? 0x1p30 : -0x1p30, 4);
  }
}

// Metrics that grow as fast as they can, or not at all, for longer than 16 bits would hold them.
TEST(Viterbi, ExtremeMetrics) {
  for (const int states : kStates) {
    const Trellis& trellis = Trellis::of(states);
    for (const float value : {0.0F, 0.25F, 0.5F, 0.75F, 1.0F, -0.25F}) {
      std::vector<float> y(3000, value);
      on_each_target([&] { EXPECT_EQ(quantized(trellis, y, 3000), reference(trellis, y, 3000)); });
      for (size_t i = 0; i < y.size(); ++i) y[i] += static_cast<float>(i * i % 7 % 4) * 0.5F;
      on_each_target([&] { EXPECT_EQ(quantized(trellis, y, 3000), reference(trellis, y, 3000)); });
    }
  }
}

// A path in pieces is one path, and its first piece is what `quantize` gives.
TEST(Viterbi, APathGoesOnFromWhereItStands) {
  Rng rng(8);
  for (const int states : kStates) {
    const Trellis trellis = Trellis::of(states);
    const std::vector<float> y = gaussian(rng, 150, 3);
    std::vector<int32_t> m(y.size());
    ThreadPool pool(1);
    Viterbi viterbi(pool, trellis);
    int state = 0;
    for (size_t begin = 0; begin < y.size(); begin += 50)
      state =
          viterbi.follow(std::span(y).subspan(begin, 50), state, std::span(m).subspan(begin, 50));
    expect_path(trellis, m, 150);
    const std::vector<float> first(y.begin(), y.begin() + 50);
    EXPECT_TRUE(std::equal(m.begin(), m.begin() + 50, quantized(trellis, first, 50).begin()));
    // The pieces cost a little more than the whole.
    const double whole = squared_error(y, quantized(trellis, y, 150)), pieces = squared_error(y, m);
    EXPECT_GE(pieces, whole * (1 - 1e-6)) << states;
    EXPECT_LT(pieces, whole * 1.3) << states;
  }
}

}  // namespace
}  // namespace watersic
