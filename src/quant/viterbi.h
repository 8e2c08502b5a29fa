// The Viterbi algorithm: the path through a trellis nearest to a column (docs/algorithm.md, "A
// trellis down each column").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "base/trellis.h"

namespace watersic {

constexpr float kMostMagnitude = 0x1p29F;  // y beyond is held to it

// Quantizes columns. It holds scratch memory: one object serves one caller at a time. The result is
// the same bytes on every CPU and with any number of threads.
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
  // Threads, and the blocks of a vector, work on whole segments. A segment's fixed start costs: as
  // much distortion as 2.2 bits with 64 states, 1.2 with 8.
  void quantize(std::span<const float> y, int64_t segment_rows, std::span<int32_t> m);

  // One segment, on the caller's thread, whose path starts in `state`. Returns the state in which
  // it ends.
  int follow(std::span<const float> y, int state, std::span<int32_t> m);

 private:
  struct Scratch;
  ThreadPool& pool_;
  const Trellis trellis_;
  std::vector<Scratch> scratch_;  // one for each group of segments
};

// The definition, in float64 and without the rounding of y: what `quantize` is tested against.
void viterbi_reference(const Trellis& trellis, std::span<const float> y, int64_t segment_rows,
                       std::span<int32_t> m);

}  // namespace watersic
