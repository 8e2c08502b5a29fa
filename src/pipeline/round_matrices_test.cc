#include "pipeline/round_matrices.h"

#include <gtest/gtest.h>

#include "support/test_folder.h"

namespace watersic {
namespace {

Matrix<float> filled(int64_t rows, int64_t cols, float value) {
  Matrix<float> M(rows, cols);
  for (float& x : M.values()) x = value;
  return M;
}

TEST(RoundMatrices, AreTheSameInMemoryAndInAFile) {
  const TestFolder folder("rounds");
  RoundMatrices memory, file(folder / "out");
  for (RoundMatrices* rounds : {&memory, &file}) {
    EXPECT_EQ(rounds->size(), 0U);
    for (int i = 0; i < 3; ++i) rounds->push_back(filled(4 - i, 5, static_cast<float>(i)));
    EXPECT_EQ(rounds->size(), 3U);
    (*rounds)[1](2, 4) = 7;
    (*rounds)[0] = filled(4, 5, 9);  // what was changed before is written
    (*rounds)[2](0, 0) += 1;
    EXPECT_EQ((*rounds)[1](2, 4), 7);
    EXPECT_EQ((*rounds)[1](0, 0), 1);
    EXPECT_EQ((*rounds)[0](3, 3), 9);
    EXPECT_EQ((*rounds)[2](0, 0), 3);
    EXPECT_EQ((*rounds)[2].rows(), 2);
  }
}

}  // namespace
}  // namespace watersic
