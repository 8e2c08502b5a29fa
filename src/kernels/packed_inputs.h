// The inputs of a packed product: each packed column's input times the column's scale, as they are
// or in signed bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/packed_matrix.h"
#include "watersic/matrix.h"

namespace watersic {

// Of some tokens. With z_v the inputs, a block's are scale * q, q the nearest integers of at most
// the block's limit, scale from the largest z_v; a second part holds the rest of the first.
struct QuantizedInputs {
  QuantizedInputs(const PackedMatrix& M, int64_t tokens);
  int64_t tokens;
  Matrix<int8_t> q;        // tokens x quantized_inputs
  Matrix<float> scale;     // tokens x blocks
  Matrix<int32_t> offset;  // tokens x blocks: sum base * q
};
void quantize_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out);

// As floats.
struct FloatInputs {
  FloatInputs(const PackedMatrix& M, int64_t tokens);
  int64_t tokens;
  Matrix<float> z;       // tokens x packed columns
  Matrix<float> offset;  // tokens x blocks: sum base * z; of second parts 0
};
void scale_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token, FloatInputs& out);

}  // namespace watersic
