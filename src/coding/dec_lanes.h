// The inner loop's data, between the tile decoder and its vector version.
#pragma once

#include <cstddef>
#include <cstdint>

#include "coding/common_rans.h"

namespace watersic {

// Which inner loop decodes: the best that the machine has, or the scalar reference. Both give the
// same integers.
enum class DecoderKind { kBest, kScalar };

// The lanes of one pass: what each needs to decode its column. Arrays, so that registers load them.
struct LaneTables {
  alignas(64) uint32_t offset[kMaxLanes];  // of its table in the entries
  alignas(64) uint32_t mask[kMaxLanes];    // 2^precision - 1
  alignas(64) uint32_t precision[kMaxLanes];
  alignas(64) int32_t base[kMaxLanes];
};

// Words that a vector decoder may load beyond the one that it needs.
inline constexpr int64_t kVectorSlack = 8;

// Decodes `rows` rows of `active` lanes into out[r * stride + lane]; `states` go on. Returns the
// words taken from `words`, of which there must be rows * active + kVectorSlack; or -1, having done
// nothing, where the machine has no fitting vectors or the lanes are no multiple of 8.
int64_t decode_rows_vector(const std::byte* words, const uint32_t* entries, const LaneTables& lanes,
                           int active, uint32_t* states, int32_t* out, int64_t stride,
                           int64_t rows);

}  // namespace watersic
