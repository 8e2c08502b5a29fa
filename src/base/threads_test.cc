#include "base/threads.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

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

TEST(ThreadPool, OfSeveralFailuresTheFirstTileCounts) {
  ThreadPool pool(2);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> begun = 0;
    try {
      pool.parallel_for(2, [&](int64_t i) {
        // Both are running before one fails.
        for (++begun; begun < 2;) std::this_thread::yield();
        throw std::runtime_error(std::to_string(i));
      });
      FAIL();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "0");
    }
  }
}

// Whoever comes while the pool is at work waits; nobody's tiles are lost or run twice.
TEST(ThreadPool, CallersTakeTurns) {
  for (const int threads : {2, 3, 8}) {
    ThreadPool pool(threads);
    std::atomic<int> inside = 0;
    std::vector<std::thread> callers;
    std::vector<int> wrong(4);
    for (size_t c = 0; c < wrong.size(); ++c) {
      callers.emplace_back([&, c] {
        for (int round = 0; round < 300; ++round) {
          const int64_t tiles = 2 + round % 7;
          std::vector<std::atomic<int>> count(static_cast<size_t>(tiles));
          std::atomic<bool> together = false;
          pool.parallel_for(tiles, [&](int64_t i) {
            if (++inside > threads) together = true;
            ++count[static_cast<size_t>(i)];
            --inside;
          });
          for (const auto& n : count) wrong[c] += n == 1 ? 0 : 1;
          wrong[c] += together ? 1 : 0;
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    for (const int count : wrong) EXPECT_EQ(count, 0);
  }
}

TEST(ThreadPool, ManyShortCallsAndPausesBetween) {
  ThreadPool pool(2);
  int64_t sum = 0;
  for (int round = 0; round < 5000; ++round) {
    std::array<int64_t, 8> found{};
    pool.parallel_for(8, [&](int64_t i) { found[static_cast<size_t>(i)] = i; });
    for (const int64_t f : found) sum += f;
    // Long enough for the workers to fall asleep.
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(sum, 5000 * 28);
}

}  // namespace
}  // namespace watersic
