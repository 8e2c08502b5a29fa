#include "calibration/gather_sums.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "calibration/stage_moments.h"
#include "support/thread_ranks.h"

namespace watersic {
namespace {

TEST(GatherSums, AreThoseOfOneRank) {
  Rng rng(1);
  for (const auto& [m, n] : {std::pair<int64_t, int64_t>{1, 1}, {7, 300}, {600, 257}, {512, 512}}) {
    Matrix<float> X(40, m), Y(40, n);
    for (Matrix<float>* matrix : {&X, &Y})
      for (float& x : matrix->values()) x = static_cast<float>(rng.normal());
    ThreadPool alone;
    Matrix<double> gram(m, m);
    Matrix<float> narrow(m, m), cross(m, n);
    add_gram(alone, X, gram);
    add_gram(alone, X, narrow.view());
    add_cross(alone, X, Y, cross);
    for (const int size : {2, 3, 5}) {
      ThreadRanks::run(size, [&, m = m, n = n](const Communicator& ranks) {
        ThreadPool pool(1);
        Matrix<double> S(m, m), nothing;
        Matrix<float> N(m, m), C(m, n);
        add_gram(pool, X, S, share_of(ranks));
        add_gram(pool, X, N.view(), share_of(ranks));
        add_cross(pool, X, Y, C, share_of(ranks));
        gather_gram(ranks, S);
        gather_gram(ranks, N);
        gather_cross(ranks, C);
        gather_gram(ranks, nothing);
        EXPECT_TRUE(std::ranges::equal(S.values(), gram.values()));
        EXPECT_TRUE(std::ranges::equal(N.values(), narrow.values()));
        EXPECT_TRUE(std::ranges::equal(C.values(), cross.values()));
      });
    }
  }
}

// Each rank takes its tiles of W S' from its tiles of what came as l + W x'.
TEST(GatherSums, WhatIsLostIsThatOfOneRank) {
  Rng rng(2);
  Matrix<float> X(700, 300), Y(700, 520), W(520, 300);
  for (Matrix<float>* matrix : {&X, &Y, &W})
    for (float& x : matrix->values()) x = static_cast<float>(rng.normal());
  const auto lost = [&](const Communicator& ranks, ThreadPool& pool) {
    StageMoments moments(false, Unweighted::kAll, ranks);
    moments.add(pool, {.X = X, .X_quantized = X, .p = {}, .lost = Y});
    return moments.take(pool, W);
  };
  ThreadPool alone(2);
  const StageStatistics expected = lost(one_rank(), alone);
  for (const int size : {2, 3}) {
    ThreadRanks::run(size, [&](const Communicator& ranks) {
      ThreadPool pool(1);
      const StageStatistics found = lost(ranks, pool);
      EXPECT_TRUE(std::ranges::equal(found.lost.values(), expected.lost.values()));
      EXPECT_TRUE(
          std::ranges::equal(found.lost_contrast.values(), expected.lost_contrast.values()));
    });
  }
}

}  // namespace
}  // namespace watersic
