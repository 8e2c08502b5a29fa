#include "calibration/token_batches.h"

#include <gtest/gtest.h>

#include "support/thread_ranks.h"

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

}  // namespace
}  // namespace watersic
