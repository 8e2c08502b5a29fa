#include <gtest/gtest.h>

#include <numeric>

#include "base/rng.h"
#include "calibration/moments.h"
#include "calibration/windows.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(Windows, AreWholeDistinctAndInOrder) {
  std::vector<int32_t> ids(1000);
  std::iota(ids.begin(), ids.end(), 0);
  const auto all = pick_windows(ids, 100, 64, 1, "text");
  ASSERT_EQ(all.size(), 15U);  // 40 tokens are left over
  for (size_t w = 0; w < all.size(); ++w) {
    ASSERT_EQ(all[w].size(), 64U);
    EXPECT_EQ(all[w].front(), static_cast<int32_t>(64 * w));
  }
  const auto some = pick_windows(ids, 5, 64, 1, "text");
  ASSERT_EQ(some.size(), 5U);
  for (size_t w = 1; w < some.size(); ++w) EXPECT_LT(some[w - 1].front(), some[w].front());
  EXPECT_EQ(some, pick_windows(ids, 5, 64, 1, "text"));
  EXPECT_THROW(pick_windows(ids, 5, 1001, 1, "text"), Error);
}

TEST(SecondMoment, IsTheMeanOfOuterProductsAndMerges) {
  ThreadPool pool(2);
  Rng rng(1);
  Matrix<float> X(700, 9);
  for (float& x : X.values()) x = static_cast<float>(rng.normal());
  SecondMoment whole, first, second;
  whole.add(pool, X);
  first.add(pool, X.view().block(0, 0, 512, 9));
  second.add(pool, X.view().block(512, 0, 188, 9));
  first.merge(second);
  EXPECT_EQ(first.tokens(), 700);
  const Matrix<double> S = whole.take(), merged = first.take();
  for (int64_t i = 0; i < 9; ++i) {
    for (int64_t j = 0; j < 9; ++j) {
      double expected = 0;
      for (int64_t k = 0; k < 700; ++k) expected += static_cast<double>(X(k, i)) * X(k, j) / 700;
      EXPECT_NEAR(S(i, j), expected, 1e-5);
      EXPECT_EQ(S(i, j), merged(i, j));  // the split is where the blocks of float32 sums end
    }
  }
  EXPECT_EQ(whole.tokens(), 0);
}

}  // namespace
}  // namespace watersic
