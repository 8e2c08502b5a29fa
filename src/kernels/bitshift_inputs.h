// The inputs of a product with a bitshift matrix.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/bitshift_matrix.h"
#include "kernels/tile_inputs.h"

namespace watersic {

// Quantized to 15 bits, in the order of a block's columns. Offsets are -kMiddleCode times the sum
// of the inputs: products are with codes that begin at 0.
void quantize_inputs(const BitshiftMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out);
void scale_inputs(const BitshiftMatrix& M, std::span<const float> x, int64_t token,
                  FloatInputs& out);

}  // namespace watersic
