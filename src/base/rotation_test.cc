#include "base/rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace watersic {
namespace {

TEST(RandomRotation, KeepsLengthsAndIsUndone) {
  for (const int64_t n : {1, 2, 3, 7, 64, 100, 704, 1000}) {
    const RandomRotation rotation(n, 5);
    Rng rng(static_cast<uint64_t>(n));
    std::vector<double> x(static_cast<size_t>(n));
    for (double& v : x) v = rng.normal();
    std::vector<double> y = x;
    rotation.apply(std::span(y));
    double before = 0, after = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      before += x[i] * x[i];
      after += y[i] * y[i];
    }
    EXPECT_NEAR(after / before, 1, 1e-12) << n;
    rotation.undo(std::span(y));
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], x[i], 1e-12) << n;
  }
}

// A unit vector is spread over all coordinates: none keeps a large share.
TEST(RandomRotation, SpreadsEveryCoordinate) {
  for (const int64_t n : {64, 100, 704}) {
    const RandomRotation rotation(n, 6);
    for (int64_t i = 0; i < n; ++i) {
      std::vector<float> x(static_cast<size_t>(n));
      x[static_cast<size_t>(i)] = 1;
      rotation.apply(std::span(x));
      for (const float v : x) EXPECT_LT(std::fabs(v), 8 / std::sqrt(static_cast<double>(n)));
    }
  }
}

}  // namespace
}  // namespace watersic
