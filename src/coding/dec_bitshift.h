// The mirror of enc_bitshift.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "coding/common_tensor.h"
#include "coding/dec_bits.h"

namespace watersic {

// What follows the side of a tensor in the runnable layout; `in` stands behind that. Fills
// q.bitshift and returns the payload, which lies in `blob`. Throws Error.
std::span<const uint8_t> read_bitshift(BitReader& in, std::span<const std::byte> blob,
                                       QuantizedTensor& q, const std::string& name);

}  // namespace watersic
