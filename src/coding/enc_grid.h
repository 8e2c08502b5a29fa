// How a matrix is cut into tiles.
#pragma once

#include "coding/common_tiles.h"
#include "coding/enc_bits.h"
#include "coding/enc_tensor.h"

namespace watersic {

// segment_rows > 0: given, by a trellis.
TileGrid choose_grid(int64_t rows, int64_t live, const CodingPlan& plan, int64_t segment_rows);

void write_grid(HeadWriter& out, const TileGrid& grid);

// What the tiles' states, sizes and padding cost, in bits.
double grid_bits(const TileGrid& grid);

}  // namespace watersic
