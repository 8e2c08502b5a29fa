// The Viterbi algorithm: the path through a trellis nearest to a column (docs/algorithm.md, "A
// trellis down each column").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "base/trellis.h"

namespace watersic {

// Quantizes columns. It holds scratch memory, so that one object serves one caller at a time. The
// result is the same bytes on every CPU and with any number of threads.
class Viterbi {
 public:
  Viterbi(ThreadPool& pool, const Trellis& trellis);
  ~Viterbi();
  Viterbi(const Viterbi&) = delete;
  Viterbi& operator=(const Viterbi&) = delete;

  // y: a column in units of the step, finite. Writes m, twice the values z, such that sum (y - z)^2
  // is least over the paths that start in state 0 at every multiple of segment_rows > 0; they end
  // in any state. y is rounded to multiples of 2^-10 for this, and held to |y| <= 2^29. Of equally
  // good paths the one that ends in the lowest state is taken, and going back from there b = 0.
  //
  // Segments of more than kWholeRows rows are cut into blocks that are worked on side by side, in
  // the lanes of a vector and by the threads of the pool. They meet in states that are fixed
  // beforehand by a look at the rows around the cut, which misses the best path so rarely that the
  // distortion does not show it (docs/algorithm.md has the figures).
  void quantize(std::span<const float> y, int64_t segment_rows, std::span<int32_t> m);

  static constexpr int64_t kWholeRows = 384;

 private:
  struct Lane;
  struct Scratch;
  void run(std::span<Lane> lanes, std::span<const float> y, std::span<int32_t> m);

  ThreadPool& pool_;
  Trellis trellis_;
  std::vector<Scratch> scratch_;  // one for each group of lanes
};

// The definition, in float64 and without the rounding of y: what `quantize` is tested against.
void viterbi_reference(const Trellis& trellis, std::span<const float> y, int64_t segment_rows,
                       std::span<int32_t> m);

}  // namespace watersic
