// Sums over two halves of the tokens, and which ranks make them. Batches go to the halves in turn;
// what is left over goes to both, its first rows to one and its last to the other. Where the number
// of ranks is even, a half's sums are made by every second rank: the batches that these have are
// its own, and of the others they hear nothing until sums are gathered. Ranks that share a sum
// share its tiles: each adds all batches of the half, in their order, to its own.
#pragma once

#include <cstdint>
#include <span>

#include "dist/communicator.h"
#include "linalg/blas.h"
#include "watersic/matrix.h"

namespace watersic {

enum class Half : int8_t { kFirst, kSecond, kBoth };

// What of a batch of so many rows goes to a half, 0 or 1.
struct RowRange {
  int64_t first = 0, count = 0;
};
RowRange rows_in(int half, Half batch, int64_t rows);

class Halves {
 public:
  explicit Halves(const Communicator& ranks) : ranks_(ranks) {}

  const Communicator& ranks() const { return ranks_; }
  // Those that make the same sums as this one.
  const Communicator& sharing() const { return apart() ? ranks_.every_second() : ranks_; }
  bool has(int half) const { return !apart() || ranks_.rank() % 2 == half; }
  bool hears(Half batch) const {
    return batch == Half::kBoth || has(batch == Half::kSecond ? 1 : 0);
  }
  // Those that are told of a batch, where this rank is one of them.
  const Communicator& hearers(Half batch) const {
    return batch == Half::kBoth ? ranks_ : sharing();
  }
  // Whether ranks tell each other of a batch; all ranks say the same, since halves have as many.
  bool is_told(Half batch) const { return !hearers(batch).alone(); }
  // In hearers(batch), the rank of ranks() that has it.
  int number_of(int rank, Half batch) const {
    return apart() && batch != Half::kBoth ? rank / 2 : rank;
  }
  // Of a half's sum, and of one that all make together.
  TileShare share() const { return {sharing().rank(), sharing().size()}; }
  TileShare share_of_all() const { return {ranks_.rank(), ranks_.size()}; }

  // A half's sum, made by share() with add_gram or add_cross, goes to all ranks. Empty ones stay
  // so.
  void gather_gram(int half, Matrix<float>& S) const { gather(half, S, true); }
  void gather_gram(int half, Matrix<double>& S) const { gather(half, S, true); }
  void gather_cross(int half, Matrix<float>& S) const { gather(half, S, false); }
  void gather_cross(int half, Matrix<double>& S) const { gather(half, S, false); }
  // One made by share_of_all().
  void gather_gram(Matrix<double>& S) const { gather_from(0, 1, S, true); }
  // Where each of those who share a half has it whole.
  void gather(int half, std::span<double> values) const;

 private:
  bool apart() const { return ranks_.size() % 2 == 0; }
  template <class T>
  void gather(int half, Matrix<T>& S, bool symmetric) const {
    gather_from(apart() ? half : 0, apart() ? 2 : 1, S, symmetric);
  }
  // From rank `first` and every `stride`-th behind it.
  template <class T>
  void gather_from(int first, int stride, Matrix<T>& S, bool symmetric) const;

  const Communicator& ranks_;
};

}  // namespace watersic
