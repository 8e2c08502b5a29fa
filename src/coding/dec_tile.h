// One tile's words back to its integers.
#pragma once

#include <cstdint>
#include <string>

#include "coding/common_tiles.h"
#include "coding/dec_bits.h"
#include "coding/dec_lanes.h"
#include "coding/dec_tables.h"
#include "watersic/matrix.h"

namespace watersic {

// `words`: exactly the tile's. `trellis`: its states, or 0. Fills `codes`, the tile's part of the
// matrix; throws Error, never reads or writes outside, whatever the words are.
void decode_tile(WordSpan words, const DecoderTables& tables, const TileGrid::Tile& tile, int lanes,
                 int trellis, MatrixView<int32_t> codes, const std::string& name,
                 DecoderKind kind = DecoderKind::kBest);

}  // namespace watersic
