// The mirror of enc_side.h.
#pragma once

#include <string>

#include "coding/common_tensor.h"
#include "coding/dec_bits.h"

namespace watersic {

// All of the tensor but segment_rows, codes and, in the runnable layout, what they are stored as.
// Sets `version`. Throws Error.
QuantizedTensor read_side(BitReader& in, const std::string& name, int& version);

}  // namespace watersic
