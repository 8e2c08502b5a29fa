// Quantized matrices to test the coder with.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/trellis.h"
#include "coding/common_tensor.h"

namespace watersic {

inline QuantizedTensor tensor_of(Matrix<int32_t> codes) {
  QuantizedTensor q;
  q.rows = codes.rows();
  q.cols = codes.cols();
  q.codes = std::move(codes);
  return q;
}

// Spreads of rows and columns and what is made of them: integers, or paths through a trellis.
struct Sample {
  int64_t rows = 0, cols = 0;
  double spread = 1;
  double column_octaves = 0, row_octaves = 0;  // standard deviations of the spreads' logarithms
  int trellis = 0;
  int64_t segment_rows = 0;
  uint64_t seed = 1;
};

// Factors of the spread.
struct SampleSpreads {
  std::vector<double> column, row;
};
inline SampleSpreads draw_spreads(const Sample& s, Rng& rng) {
  SampleSpreads spreads;
  for (int64_t i = 0; i < s.cols; ++i)
    spreads.column.push_back(std::exp2(s.column_octaves * rng.normal()));
  for (int64_t r = 0; r < s.rows; ++r)
    spreads.row.push_back(std::exp2(s.row_octaves * rng.normal()));
  return spreads;
}

inline QuantizedTensor gaussian(const Sample& s) {
  Rng rng(s.seed);
  const auto [column, row] = draw_spreads(s, rng);
  QuantizedTensor q = tensor_of(Matrix<int32_t>(s.rows, s.cols));
  q.trellis = s.trellis;
  q.segment_rows = s.trellis > 0 ? s.segment_rows : 0;
  std::vector<int> state(static_cast<size_t>(s.cols), 0);
  for (int64_t r = 0; r < s.rows; ++r) {
    for (int64_t i = 0; i < s.cols; ++i) {
      const double z =
          s.spread * column[static_cast<size_t>(i)] * row[static_cast<size_t>(r)] * rng.normal();
      if (s.trellis == 0) {
        q.codes(r, i) = static_cast<int32_t>(std::lround(z));
        continue;
      }
      // The nearest value that the state has: not what a quantizer would choose, but a path, with
      // the same distribution.
      int& now = state[static_cast<size_t>(i)];
      if (r % s.segment_rows == 0) now = 0;
      const auto k = static_cast<int32_t>(std::lround(z - 0.5 * (now & 1)));
      q.codes(r, i) = Trellis::of(s.trellis).step(now, k);
    }
  }
  return q;
}

inline QuantizedTensor gaussian(int64_t rows, int64_t cols, double spread, uint64_t seed = 1) {
  return gaussian({.rows = rows, .cols = cols, .spread = spread, .seed = seed});
}

// The spread at which integers of a Gaussian have about `bits` of entropy.
inline double spread_of(double bits) {
  return bits == 1 ? 0.42 : std::exp2(bits) / std::sqrt(2 * M_PI * M_E);
}

// Of the cell around z under N(0, s^2).
inline double cell_probability(double z, double s) {
  const double r = s * std::sqrt(2.0);
  return 0.5 * (std::erf((std::fabs(z) + 0.5) / r) - std::erf((std::fabs(z) - 0.5) / r)) + 1e-300;
}

// Every integer coded by the Gaussian that it was drawn from: the bits of all.
inline double true_bits(const Sample& sample, const QuantizedTensor& t) {
  Rng rng(sample.seed);
  const auto [column, row] = draw_spreads(sample, rng);
  const double unit = t.trellis > 0 ? 0.5 : 1.0;
  double bits = 0;
  for (int64_t r = 0; r < t.rows; ++r) {
    for (int64_t i = 0; i < t.codes.cols(); ++i)
      bits -= std::log2(cell_probability(
          unit * t.codes(r, i),
          sample.spread * column[static_cast<size_t>(i)] * row[static_cast<size_t>(r)]));
  }
  return bits;
}

// Every column coded by the Gaussian that fits it best, integrated over each cell, for nothing: the
// bits of all integers.
inline double ideal_bits(const QuantizedTensor& t) {
  const double unit = t.trellis > 0 ? 0.5 : 1.0;
  double bits = 0;
  for (int64_t i = 0; i < t.codes.cols(); ++i) {
    std::map<int32_t, int> counts;
    double squares = 0;
    for (int64_t r = 0; r < t.rows; ++r) {
      ++counts[t.codes(r, i)];
      squares += std::pow(unit * t.codes(r, i), 2);
    }
    double best = squares == 0 ? 0 : INFINITY;
    const double s0 = std::sqrt(squares / static_cast<double>(t.rows));
    for (double s = 0.5 * s0; s < std::max(1.2 * s0, 0.45) && squares > 0; s *= 1.01) {
      double sum = 0;
      for (const auto& [m, count] : counts) sum -= count * std::log2(cell_probability(unit * m, s));
      best = std::min(best, sum);
    }
    bits += best;
  }
  return bits;
}

}  // namespace watersic
