#include "encode/step_search.h"

#include <gtest/gtest.h>

#include <cmath>

namespace watersic {
namespace {

// Entropy-like curves: slope -1 at high rate, flat towards 0 bits.
double soft_rate(double step) { return std::log2(1 + 1 / step); }

TEST(StepSearch, FindsTheStepOfARateInAFewTries) {
  for (const double target : {0.1, 0.5, 1.0, 2.0, 4.0, 8.0}) {
    for (const double first : {1e-6, 0.3, 1e6}) {
      StepSearch search(target, first);
      int tries = 0;
      while (search.best_error() > 1e-4 && tries < 60) {
        const double step = search.next();
        search.measured(step, soft_rate(step));
        ++tries;
      }
      EXPECT_LT(search.best_error(), 1e-4) << target << " from " << first;
      EXPECT_LE(tries, first == 0.3 ? 9 : 60) << target;
    }
  }
}

TEST(StepSearch, KeepsTheClosestWhereTheTargetIsOutOfReach) {
  StepSearch search(5.0, 1.0);
  for (int i = 0; i < 5; ++i) search.measured(search.next(), 1.0);  // nothing helps
  EXPECT_EQ(search.best_error(), 4.0);
  EXPECT_EQ(search.best_step(), 1.0);
}

}  // namespace
}  // namespace watersic
