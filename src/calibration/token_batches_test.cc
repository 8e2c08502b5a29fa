#include "calibration/token_batches.h"

#include <gtest/gtest.h>

#include "support/thread_ranks.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(TokenBatches, AreTheSameForAnyNumberOfRanks) {
  for (const auto& [windows, length] :
       {std::pair<int64_t, int64_t>{1, 4}, {128, 512}, {17, 256}, {5, 2048}, {3, 8192}}) {
    std::vector<TokenBatch> all;  // as one rank has them
    const TokenBatches alone(windows, length, one_rank());
    for (int64_t round = 0; round < alone.rounds(); ++round) all.push_back(*alone.own(round));
    EXPECT_EQ(alone.tokens(), windows * length);
    for (const int size : {2, 3, 4}) {
      ThreadRanks::run(size, [&, windows = windows, length = length](const Communicator& ranks) {
        const TokenBatches batches(windows, length, ranks);
        size_t next = 0;
        for (int64_t round = 0; round < batches.rounds(); ++round) {
          for (const TokenBatch& batch : batches.round(round)) {
            ASSERT_LT(next, all.size());
            EXPECT_EQ(batch.row, all[next].row);
            EXPECT_EQ(batch.rows, all[next].rows);
            EXPECT_EQ(batch.first * length, batch.row);
            EXPECT_EQ(batch.half, all[next].half);
            if (const TokenBatch* own = batches.own(round);
                static_cast<int>(next % static_cast<size_t>(size)) == ranks.rank()) {
              ASSERT_NE(own, nullptr);
              EXPECT_EQ(own->row, batch.row);
            }
            ++next;
          }
        }
        EXPECT_EQ(next, all.size());
      });
    }
  }
}

TEST(TokenBatches, HalvesHaveAsManyTokensEach) {
  for (const auto& [windows, length] :
       {std::pair<int64_t, int64_t>{1, 4}, {7, 512}, {8, 512}, {127, 512}, {128, 512}, {5, 2048}}) {
    const TokenBatches batches(windows, length, one_rank());
    int64_t tokens[2] = {};
    bool last_of_pairs = true;
    for (int64_t round = 0; round < batches.rounds(); ++round) {
      const TokenBatch& batch = *batches.own(round);
      for (int half = 0; half < 2; ++half)
        tokens[half] += rows_in(half, batch.half, batch.rows).count;
      // Ranks of one parity have the batches of one half.
      if (batch.half == Half::kBoth) {
        last_of_pairs = false;
      } else {
        EXPECT_EQ(batch.half, round % 2 == 0 ? Half::kFirst : Half::kSecond);
      }
      EXPECT_EQ(batch.half == Half::kBoth, !last_of_pairs);  // behind the others
    }
    EXPECT_LE(std::abs(tokens[0] - tokens[1]), 1) << windows << " x " << length;
  }
  EXPECT_EQ(TokenBatches(64, 512, one_rank()).own(15)->half, Half::kSecond);
}

// Of 20 rounds ranks talk after some; one of them fails in one, and all throw what it threw. Until
// then each has checked as often as the others.
TEST(Rounds, WhatOneRankMeetsAllThrow) {
  constexpr int64_t kLength = 2048;
  for (const int size : {1, 2, 3, 4}) {
    for (const size_t failing : {size_t{0}, size_t{4}, size_t{5}, size_t{13}, size_t{19}}) {
      for (const bool talks : {true, false}) {
        std::vector<int> checks(static_cast<size_t>(size));
        ThreadRanks::run(size, [&](const Communicator& ranks) {
          ThreadPool pool(1);
          const auto rank = static_cast<size_t>(ranks.rank());
          const Context context(
              pool, {}, [&] { ++checks[rank]; }, ranks);
          const TokenBatches batches(2 * 20 * size, kLength, ranks);
          ASSERT_EQ(batches.rounds(), 20);
          size_t done = 0;
          const auto talk = [&](size_t round) { return talks && round % 6 == 5; };
          RoundWork work{.own =
                             [&](size_t round, const TokenBatch&) {
                               EXPECT_EQ(round, done++);
                               if (round == failing && ranks.rank() + 1 == size)
                                 throw Error("a bad batch");
                             },
                         .after =
                             [&](size_t round) {
                               if (!talk(round)) return;
                               EXPECT_LT(round, failing);
                               EXPECT_TRUE(any(ranks, ranks.is_root()));
                             },
                         .talk = talk};
          try {
            for_each_round(context, batches, work);
            ADD_FAILURE();
          } catch (const Error& e) {
            EXPECT_STREQ(e.what(), "a bad batch");
          }
          EXPECT_GT(done, failing);
        });
        for (const int count : checks) EXPECT_EQ(count, checks[0]);
      }
    }
  }
}

}  // namespace
}  // namespace watersic
