// The Viterbi algorithm: the path through a trellis nearest to a column (docs/algorithm.md, "A
// trellis down each column").
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/trellis.h"

namespace watersic {

// Quantizes columns, or parts of columns made of whole segments. It holds scratch memory: one
// object for each thread. The result is the same bytes on every CPU, and however the segments of a
// column are shared out among calls.
class Viterbi {
 public:
  explicit Viterbi(const Trellis& trellis);
  ~Viterbi();
  Viterbi(Viterbi&&) noexcept;
  Viterbi& operator=(Viterbi&&) noexcept;

  // y: a column in units of the step, finite. Writes m, twice the values z, such that sum (y - z)^2
  // is least over the paths that start in state 0 at every multiple of segment_rows > 0; they end
  // in any state. y is rounded to multiples of 2^-10 for this, and held to |y| <= 2^29; of equally
  // good paths the one that ends in the lowest state is taken, and going back from there b = 0.
  //
  // As many segments as the CPU has lanes of 16 bits are worked on at once (8 to 32), in the time
  // of one: a call should bring many. The last may be shorter, and is worked on alone.
  void quantize(std::span<const float> y, int64_t segment_rows, std::span<int32_t> m);

 private:
  struct Scratch;
  Trellis trellis_;
  std::unique_ptr<Scratch> scratch_;
};

// The definition, in float64 and without the rounding of y: what `quantize` is tested against.
void viterbi_reference(const Trellis& trellis, std::span<const float> y, int64_t segment_rows,
                       std::span<int32_t> m);

}  // namespace watersic
