// How often each integer occurs.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

struct Histogram {
  std::vector<std::pair<int32_t, int64_t>> counts;  // value and count > 0, values rising
  int64_t total = 0;

  void add(const Histogram& other);
  // Bits that an ideal code for these frequencies spends on all of them, without a table.
  double entropy_bits() const;
};

// Counts integers by class.
class ClassCounter {
 public:
  explicit ClassCounter(int classes);
  void add(int c, int32_t v) {
    const auto slot = static_cast<uint32_t>(v) + kHalf;
    if (slot < 2 * kHalf) {
      ++dense_[static_cast<size_t>(c) * 2 * kHalf + slot];
    } else {
      others_.emplace_back(c, v);
    }
  }
  std::vector<Histogram> histograms();

 private:
  static constexpr uint32_t kHalf = 1024;
  std::vector<int64_t> dense_;
  std::vector<std::pair<int, int32_t>> others_;
};

// All integers of a matrix.
Histogram histogram_of(MatrixView<const int32_t> codes);

}  // namespace watersic
