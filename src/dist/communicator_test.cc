#include "dist/communicator.h"

#include <gtest/gtest.h>

#include <string>

#include "support/thread_ranks.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(Communicator, WhatOneRankHasGoesToAll) {
  ThreadRanks::run(3, [](const Communicator& ranks) {
    for (int root = 0; root < 3; ++root) {
      const bool mine = ranks.rank() == root;
      std::string text = mine ? "of rank " + std::to_string(root) : "longer than what comes";
      share(ranks, root, text);
      EXPECT_EQ(text, "of rank " + std::to_string(root));

      Matrix<float> matrix;
      if (mine) matrix = Matrix<float>(2, 3);
      if (mine) matrix(1, 2) = 7;
      share(ranks, root, matrix);
      ASSERT_EQ(matrix.rows(), 2);
      ASSERT_EQ(matrix.cols(), 3);
      EXPECT_EQ(matrix(1, 2), 7);

      std::vector<std::vector<int32_t>> windows;
      if (mine) windows = {{1, 2}, {}, {3}};
      share(ranks, root, windows);
      EXPECT_EQ(windows, (std::vector<std::vector<int32_t>>{{1, 2}, {}, {3}}));
    }
  });
}

TEST(Communicator, PartsAreMerged) {
  ThreadRanks::run(3, [](const Communicator& ranks) {
    std::vector<double> parts(7);
    for (size_t i = 0; i < parts.size(); ++i)
      if (static_cast<int>(i % 3) == ranks.rank()) parts[i] = 0.1 * static_cast<double>(i);
    ranks.merge(parts);
    for (size_t i = 0; i < parts.size(); ++i) EXPECT_EQ(parts[i], 0.1 * static_cast<double>(i));
    EXPECT_TRUE(any(ranks, ranks.rank() == 2));
    EXPECT_FALSE(any(ranks, false));
  });
}

TEST(Communicator, AnErrorOfOneRankIsThrownByAll) {
  for (const int size : {1, 3}) {
    ThreadRanks::run(size, [&](const Communicator& ranks) {
      const auto message_of = [&](const auto& work) -> std::string {
        try {
          work();
        } catch (const Error& e) {
          return e.what();
        }
        return "(no error)";
      };
      EXPECT_EQ(message_of([&] { at_root(ranks, [] { throw Error("the disk is full"); }); }),
                "the disk is full");
      // Of several the first.
      EXPECT_EQ(message_of([&] {
                  together(ranks, [&] {
                    if (ranks.rank() + 1 >= ranks.size() - 1)
                      throw Error("rank " + std::to_string(ranks.rank()));
                  });
                }),
                size == 1 ? "rank 0" : "rank 1");
      EXPECT_EQ(message_of([&] { together(ranks, [] {}); }), "(no error)");
    });
  }
}

}  // namespace
}  // namespace watersic
