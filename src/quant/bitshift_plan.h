// The runnable layout's rates: quarters of a bit for each column, more or fewer by tile of rows, so
// that every column gets the same noise, that of the water level N, and the payload has the size
// that is asked for.
//
// A column of deviation s in the loop's domain gets 1/2 log2(1 + s^2 / N) bits. What its code makes
// of y is (1 - D) y and noise, D = N / (s^2 + N); it is written 1 / (1 - D) times as large, which
// is y and noise of N, as rounding to a step makes it. So much of y as is noise is what the damping
// d I = N / mean(W^2) of the target accounts for (docs/algorithm.md, "The runnable layout").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bitshift.h"

namespace watersic {

// By how much the code's values are wider than what they stand for: at a high rate a value far out
// has few near it, and what is lost there counts most.
constexpr double code_width(int rate) { return 1 + 0.007 * (rate > 2 ? rate - 2 : 0); }

// What a column of spread 1 is left with at a level: the search's distortion on Gaussians.
double level_distortion(int level);

struct BitshiftPlan {
  std::vector<double> spread;      // of each column of the loop, in its domain, rows at theirs
  std::vector<double> row_spread;  // of each row, times its root of the outputs' metric
  std::vector<int32_t> levels;     // of each column of the loop
  std::vector<int32_t> offsets;    // of each tile of rows
  int64_t segment_rows = 0;
  double water = 0;  // N, in the loop's domain
};

// Offsets of the tiles: how much wider their rows are than the geometric mean.
std::vector<int32_t> tile_offsets(std::span<const double> row_spread);

// What it costs that the rows of a tile share a rate, in bits a weight.
double uneven_bits(std::span<const double> row_spread);

// The levels of columns of these spreads; of each level a multiple of kBitshiftVector columns, as
// far as that costs next to nothing.
std::vector<int32_t> levels_at(std::span<const double> spread, double water);

// Sets levels and water so that the payload is as large as it can be within `bytes`.
void allocate(BitshiftPlan& plan, int64_t rows, int64_t bytes);

}  // namespace watersic
