#include "calibration/halves.h"

#include <gtest/gtest.h>

#include <vector>

#include "calibration/stage_moments.h"
#include "support/random_matrix.h"
#include "support/thread_ranks.h"

namespace watersic {
namespace {

TEST(Halves, RowsOfABatch) {
  const auto expect = [](int half, Half batch, int64_t rows, int64_t first, int64_t count) {
    const RowRange range = rows_in(half, batch, rows);
    EXPECT_EQ(range.first, first);
    EXPECT_EQ(range.count, count);
  };
  expect(0, Half::kFirst, 5, 0, 5);
  expect(1, Half::kFirst, 5, 0, 0);
  expect(0, Half::kSecond, 5, 0, 0);
  expect(1, Half::kSecond, 5, 0, 5);
  expect(0, Half::kBoth, 5, 0, 3);
  expect(1, Half::kBoth, 5, 3, 2);
  expect(1, Half::kBoth, 1, 1, 0);
}

TEST(Halves, EvenRanksHaveOneOddRanksTheOther) {
  for (const int size : {1, 2, 3, 4}) {
    ThreadRanks::run(size, [size](const Communicator& ranks) {
      const Halves halves(ranks);
      const bool apart = size % 2 == 0;
      EXPECT_EQ(halves.has(0), !apart || ranks.rank() % 2 == 0);
      EXPECT_EQ(halves.has(1), !apart || ranks.rank() % 2 == 1);
      EXPECT_EQ(halves.hears(Half::kSecond), halves.has(1));
      EXPECT_TRUE(halves.hears(Half::kBoth));
      EXPECT_EQ(halves.hearers(Half::kBoth).size(), size);
      EXPECT_EQ(halves.hearers(Half::kFirst).size(), apart ? size / 2 : size);
      // A rank finds itself among those that hear what is its own.
      const Half own = ranks.rank() % 2 == 0 ? Half::kFirst : Half::kSecond;
      EXPECT_EQ(halves.number_of(ranks.rank(), own), halves.hearers(own).rank());
    });
  }
}

TEST(Halves, SumsAreThoseOfOneRank) {
  for (const auto& [m, n] : {std::pair<int64_t, int64_t>{1, 1}, {7, 300}, {600, 257}, {512, 512}}) {
    const Matrix<float> X = random_matrix<float>(40, m, 1), Y = random_matrix<float>(40, n, 2);
    ThreadPool alone;
    Matrix<double> gram(m, m);
    Matrix<float> narrow(m, m), cross(m, n);
    add_gram(alone, X, gram);
    add_gram(alone, X, narrow.view());
    add_cross(alone, X, Y, cross);
    for (const int size : {2, 3, 4, 5}) {
      ThreadRanks::run(size, [&, m = m, n = n](const Communicator& ranks) {
        ThreadPool pool(1);
        const Halves halves(ranks);
        Matrix<double> all(m, m);
        add_gram(pool, X, all, halves.share_of_all());
        halves.gather_gram(all);
        EXPECT_TRUE(std::ranges::equal(all.values(), gram.values()));
        for (const int half : {0, 1}) {
          Matrix<double> S, nothing;
          Matrix<float> N, C;
          std::vector<double> numbers = {0};
          if (halves.has(half)) {
            S = Matrix<double>(m, m);
            N = Matrix<float>(m, m);
            C = Matrix<float>(m, n);
            numbers = {7};
            add_gram(pool, X, S, halves.share());
            add_gram(pool, X, N.view(), halves.share());
            add_cross(pool, X, Y, C, halves.share());
          }
          halves.gather_gram(half, S);
          halves.gather_gram(half, N);
          halves.gather_cross(half, C);
          halves.gather_gram(half, nothing);
          halves.gather(half, numbers);
          EXPECT_TRUE(std::ranges::equal(S.values(), gram.values()));
          EXPECT_TRUE(std::ranges::equal(N.values(), narrow.values()));
          EXPECT_TRUE(std::ranges::equal(C.values(), cross.values()));
          EXPECT_TRUE(nothing.empty());
          EXPECT_EQ(numbers[0], 7);
        }
      });
    }
  }
}

void expect_same(const Moments& a, const Moments& b) {
  EXPECT_TRUE(std::ranges::equal(a.S.values(), b.S.values()));
  EXPECT_TRUE(std::ranges::equal(a.S_quantized.values(), b.S_quantized.values()));
  EXPECT_TRUE(std::ranges::equal(a.drift.values(), b.drift.values()));
  EXPECT_TRUE(std::ranges::equal(a.metric_contrast.values(), b.metric_contrast.values()));
  EXPECT_TRUE(std::ranges::equal(a.drift_contrast.values(), b.drift_contrast.values()));
}

// The moments of a stage are the same by any number of ranks, though each hears of what it adds
// alone; what came as l + W x' loses its W S' on the ranks that have l.
TEST(Halves, MomentsAreThoseOfOneRank) {
  constexpr Half kHalves[] = {Half::kFirst, Half::kSecond, Half::kFirst, Half::kSecond,
                              Half::kBoth};
  constexpr int64_t kRows = 140, kInputs = 300, kOutputs = 520;
  Rng rng(2);
  const Matrix<float> W = random_matrix<float>(kOutputs, kInputs, 3),
                      X = random_matrix<float>(5 * kRows, kInputs, 4),
                      Xq = random_matrix<float>(5 * kRows, kInputs, 5),
                      Y = random_matrix<float>(5 * kRows, kOutputs, 6);
  std::vector<float> p(5 * kRows);
  for (float& x : p) x = static_cast<float>(rng.uniform());
  for (const MomentsWanted& wanted :
       {MomentsWanted{}, MomentsWanted{.two = true, .drift = true},
        MomentsWanted{.weighted = true, .unweighted = Unweighted::kNone},
        MomentsWanted{.two = true, .weighted = true, .unweighted = Unweighted::kS},
        MomentsWanted{.two = true, .weighted = true, .drift = true}}) {
    const auto statistics = [&](const Communicator& ranks, ThreadPool& pool) {
      StageMoments moments(wanted, ranks);
      for (int64_t batch = 0; batch < 5; ++batch) {
        const Half half = kHalves[batch];
        const int64_t row = batch * kRows;
        StageBatch told{.row = row, .half = half};
        const bool hears = moments.halves().hears(half), all = moments.all_hear(row, kInputs);
        if (all || (hears && moments.half_hears_X()))
          told.X = X.view().block(row, 0, kRows, kInputs);
        if (wanted.weighted) told.p = std::span(p).subspan(static_cast<size_t>(row), kRows);
        if (hears && wanted.two) {
          told.X_quantized = Xq.view().block(row, 0, kRows, kInputs);
          told.lost = Y.view().block(row, 0, kRows, kOutputs);
        }
        if (hears || all) moments.add(pool, told);
      }
      return moments.take(pool, wanted.two ? W.view() : MatrixView<const float>());
    };
    ThreadPool alone(2);
    const StageStatistics expected = statistics(one_rank(), alone);
    for (const int size : {2, 3, 4}) {
      ThreadRanks::run(size, [&](const Communicator& ranks) {
        ThreadPool pool(1);
        const StageStatistics found = statistics(ranks, pool);
        expect_same(found.plain, expected.plain);
        expect_same(found.weighted, expected.weighted);
        EXPECT_TRUE(std::ranges::equal(found.lost.values(), expected.lost.values()));
        EXPECT_TRUE(
            std::ranges::equal(found.lost_contrast.values(), expected.lost_contrast.values()));
      });
    }
  }
}

}  // namespace
}  // namespace watersic
