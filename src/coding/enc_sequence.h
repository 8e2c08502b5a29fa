// A sequence of whole numbers in few bits: what the head says of each row, column or tile.
#pragma once

#include <cstdint>
#include <vector>

#include "coding/enc_bits.h"
#include "coding/enc_histogram.h"

namespace watersic {

// Numbers lie within +-2^38. docs/format.md, "Sequences".
void write_sequence(HeadWriter& out, const std::vector<int64_t>& values);

// What write_sequence takes, without the head's one state, within a few bits.
double sequence_bits(const std::vector<int64_t>& values);

}  // namespace watersic
