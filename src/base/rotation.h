// A random rotation that costs nothing to store: signs, permutations and Hadamard transforms from a
// seed. Encoder and decoder share it, so its float32 arithmetic is specified (docs/format.md).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace watersic {

// R, n x n and orthogonal, for any n. It is two rounds of: permute and flip signs, transform the
// first p coordinates by the normalised Walsh-Hadamard matrix, p the largest power of two <= n; if
// p < n, flip signs again (or the overlap would be transformed back) and transform the last p.
class RandomRotation {
 public:
  RandomRotation(int64_t n, uint64_t seed);

  // x := x R, for a row vector x.
  template <class T>
  void apply(std::span<T> x) const;
  // x := x R^T
  template <class T>
  void undo(std::span<T> x) const;

 private:
  struct Round {
    std::vector<int64_t> from;  // position j takes coordinate from[j] ...
    std::vector<int8_t> sign;   // ... times sign[j]
    std::vector<int8_t> again;  // the second flip
  };
  int64_t n_, power_;
  Round rounds_[2];
};

}  // namespace watersic
