// The inputs of a packed product.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/packed_matrix.h"
#include "kernels/tile_inputs.h"

namespace watersic {

// Offsets are sums of the columns' bases times inputs. In blocks of wide columns the inputs of
// columns 1 and 2 of each quad are exchanged.
void quantize_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out);
void scale_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token, FloatInputs& out);

}  // namespace watersic
