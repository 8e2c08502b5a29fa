#include "pipeline/block_work.h"

#include <gtest/gtest.h>

#include "support/thread_ranks.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(BlockWork, EachBlocksIsDoneOnceByItsOwner) {
  for (const int size : {1, 2, 3, 4}) {
    for (const int64_t blocks : {1, 3, 4, 7}) {
      std::vector<int> done(static_cast<size_t>(blocks));
      ThreadRanks::run(size, [&](const Communicator& ranks) {
        BlockWork work(ranks, blocks);
        for (int64_t block = 0; block < blocks; ++block) {
          if (work.is_own(block)) {
            work.add([&done, block] { ++done[static_cast<size_t>(block)]; });
            EXPECT_EQ(done[static_cast<size_t>(block)], ranks.alone() ? 1 : 0);
          }
          work.end(block);
        }
      });
      for (const int count : done) EXPECT_EQ(count, 1);
    }
  }
}

TEST(BlockWork, WhatOneRankThrowsAllThrow) {
  ThreadRanks::run(3, [](const Communicator& ranks) {
    BlockWork work(ranks, 5);
    const auto all = [&] {
      for (int64_t block = 0; block < 5; ++block) {
        if (work.is_own(block))
          work.add([block] {
            if (block == 1) throw Error("a bad block");
          });
        work.end(block);
      }
    };
    try {
      all();
      ADD_FAILURE();
    } catch (const Error& e) {
      EXPECT_STREQ(e.what(), "a bad block");
    }
  });
}

}  // namespace
}  // namespace watersic
