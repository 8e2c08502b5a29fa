// How numbers in units of a step become integers: one by one, or along a trellis.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/threads.h"
#include "quant/viterbi.h"

namespace watersic {

// The integers z stand for z * unit() steps.
class Rounder {
 public:
  // trellis: number of states, 0 for rounding to the nearest. With a trellis z is m, twice the
  // value, and the state starts anew every segment_rows rows.
  Rounder(ThreadPool& pool, int trellis, int64_t segment_rows);

  double unit() const { return viterbi_ ? 0.5 : 1.0; }
  // From now on the path in column i goes on from states[i], which becomes where it ends. Without a
  // trellis it means nothing. `states` must outlive the rounder.
  void follow(std::span<int> states) { states_ = states; }

  // z of y / step, for the whole of column i.
  template <class T>
  void round(int64_t i, std::span<const T> y, double step, std::span<int32_t> z);

 private:
  ThreadPool& pool_;
  int64_t segment_rows_;
  std::unique_ptr<Viterbi> viterbi_;
  std::span<int> states_;  // empty: paths start anew
  std::vector<float> scaled_;
};

}  // namespace watersic
