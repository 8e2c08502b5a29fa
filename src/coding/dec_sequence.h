// The mirror of enc_sequence.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coding/dec_bits.h"

namespace watersic {

// `count` numbers, each in [low, high]; `what` and `name` are what errors call them and the tensor.
std::vector<int64_t> read_sequence(BitReader& in, int64_t count, int64_t low, int64_t high,
                                   const char* what, const std::string& name);

}  // namespace watersic
