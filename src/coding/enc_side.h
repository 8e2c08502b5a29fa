// Everything but the integers: shape, dead columns, groups, scales.
#pragma once

#include "coding/common_rans.h"
#include "coding/common_tensor.h"
#include "coding/enc_bits.h"

namespace watersic {

// Throws Error where the tensor can't be written.
void write_side(HeadWriter& out, const QuantizedTensor& tensor, int version = kTensorVersion);

}  // namespace watersic
