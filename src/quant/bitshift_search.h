// The path through a bitshift trellis nearest to a column (base/bitshift.h): the Viterbi algorithm
// over all its states.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bitshift.h"

namespace watersic {

// Holds scratch memory: one object serves one caller at a time. The same result on every CPU.
class BitshiftSearch {
 public:
  explicit BitshiftSearch(int memory);
  ~BitshiftSearch();
  BitshiftSearch(const BitshiftSearch&) = delete;
  BitshiftSearch& operator=(const BitshiftSearch&) = delete;

  static constexpr int kFree = -1;  // any start

  // u: a column's rows from number `first` on, in the code's deviations, finite; rates: of each
  // tile from that of row `first` on, 0 .. kMostStageRate. Writes the windows (the last 16 bits
  // after each row) of the path whose values are nearest to u, each tile's errors counted in
  // proportion to what its rate leaves. `start`: the window before the first row, or kFree. Returns
  // that window.
  //
  // u is rounded to multiples of 2^-12 and held to |u| < 8, from a bit a row on of 2^-13 and to
  // |u| < 4; of equally good paths the one that ends in the least state is taken.
  int follow(std::span<const float> u, int64_t first, std::span<const int32_t> rates, int start,
             std::span<uint16_t> windows);

 private:
  struct Scratch;
  int memory_;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace watersic
