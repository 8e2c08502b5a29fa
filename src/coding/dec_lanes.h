// The inner loop's data, between the tile decoder and its vector version.
#pragma once

#include <cstddef>
#include <cstdint>

#include "coding/common_rans.h"

namespace watersic {

// Which inner loop decodes: the best that the machine has, or the scalar reference. Both give the
// same integers.
enum class DecoderKind { kBest, kScalar };

// One pass over a tile's rows: what its lanes need to decode their columns. Arrays, so that
// registers load them.
struct Lanes {
  alignas(64) uint32_t states[kMaxLanes];  // of rANS
  alignas(64) uint32_t offset[kMaxLanes];  // without row classes: of the lane's tables

  // With row classes: the class is max(0, min(column[l] + row[r], top[l])), and class c's tables
  // begin at c << class_shift.
  alignas(64) int32_t column[kMaxLanes];
  alignas(64) int32_t top[kMaxLanes];

  // With a trellis: its states, and half of h0 and h1. The table of q = 1 follows that of q = 0.
  alignas(64) uint32_t path[kMaxLanes];
  uint32_t g0 = 0, g1 = 0;
  bool trellis = false;

  int active = 0;
  int precision = 0, class_shift = 0;
  int32_t base = 0;  // packed tables: of the integers
  const int32_t* row = nullptr;
};

// Decodes rows [first, first + rows) of `lanes.active` lanes into out[r * stride + lane], r from 0;
// the lanes' states go on. Returns the words taken from `words`, of which there must be
// rows * active; or -1, having done nothing, where the machine has no vectors or the lanes do not
// fill whole ones.
int64_t decode_rows_vector(const std::byte* words, const uint32_t* entries, Lanes& lanes,
                           int32_t* out, int64_t stride, int64_t first, int64_t rows);

}  // namespace watersic
