#include "base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace watersic {
namespace {

TEST(ThreadPool, RunsEachTileOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t tiles : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> count(static_cast<size_t>(tiles));
      pool.parallel_for(tiles, [&](int64_t i) { ++count[static_cast<size_t>(i)]; });
      for (const auto& c : count) EXPECT_EQ(c, 1);
    }
  }
}

TEST(ThreadPool, NestedCallsRunSerially) {
  ThreadPool pool(3);
  std::atomic<int> sum = 0;
  pool.parallel_for(
      4, [&](int64_t) { pool.parallel_for(5, [&](int64_t j) { sum += static_cast<int>(j); }); });
  EXPECT_EQ(sum, 40);
}

TEST(ThreadPool, ThrowsWhatATileThrewAndGoesOn) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.parallel_for(100,
                                 [](int64_t i) {
                                   if (i == 3) throw std::runtime_error("three");
                                 }),
               std::runtime_error);
  std::atomic<int> count = 0;
  pool.parallel_for(100, [&](int64_t) { ++count; });
  EXPECT_EQ(count, 100);
}

}  // namespace
}  // namespace watersic
