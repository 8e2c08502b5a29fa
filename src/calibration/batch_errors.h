// How far one model's activations are from another's, summed batch by batch.
#pragma once

#include <cstdint>

#include "base/threads.h"
#include "dist/communicator.h"
#include "watersic/matrix.h"

namespace watersic {

class BatchErrors {
 public:
  explicit BatchErrors(int64_t batches) : sums_(batches, 2) {}

  // By the rank that has the batch. X, Xq: tokens x n.
  void add(ThreadPool& pool, int64_t batch, MatrixView<const float> X, MatrixView<const float> Xq);
  // sum |x' - x|^2 / sum |x|^2; by all ranks, once.
  double ratio(const Communicator& ranks);

 private:
  Matrix<double> sums_;  // by batch: |x' - x|^2 and |x|^2
};

}  // namespace watersic
