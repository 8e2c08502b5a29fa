// The mirror of enc_side.h.
#pragma once

#include <string>

#include "coding/common_tensor.h"
#include "coding/dec_bits.h"

namespace watersic {

// All of the tensor but segment_rows and codes. Throws Error.
QuantizedTensor read_side(BitReader& in, const std::string& name);

}  // namespace watersic
