// Second moments of what a block's linear layers see.
#pragma once

#include <array>
#include <cstdint>

#include "base/threads.h"
#include "model/config.h"
#include "watersic/matrix.h"

namespace watersic {

// Sum of x x^T over tokens: products in float32 over blocks of tokens, sums in float64.
class SecondMoment {
 public:
  // X: tokens x n; n is that of the first call.
  void add(ThreadPool& pool, MatrixView<const float> X);
  // The sums of another, over other tokens of the same features.
  void merge(const SecondMoment& other);

  int64_t tokens() const { return tokens_; }
  // S = sum / tokens (n x n). Leaves the accumulator empty, since S is large.
  Matrix<double> take();

 private:
  Matrix<double> sum_;
  int64_t tokens_ = 0;
};

// One for each capture point of a block.
using BlockMoments = std::array<SecondMoment, 4>;  // by Capture

}  // namespace watersic
