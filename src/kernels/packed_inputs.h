// The inputs of a packed product: each packed column's input times the column's scale, as they are
// or rounded to 8 or 16 bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/packed_matrix.h"
#include "watersic/matrix.h"

namespace watersic {

// Of some tokens. With z_v the inputs, a block's are scale * q, q the nearest integers of at most
// the block's limit, scale from the largest z_v. Block after block, and in a block token after
// token.
struct QuantizedInputs {
  QuantizedInputs(const PackedMatrix& M, int64_t tokens);
  int64_t tokens;
  std::vector<uint8_t> q;  // tokens * input_bytes; those of wide blocks with columns 1 and 2 of
                           // each quad exchanged
  Matrix<float> scale;     // blocks x tokens
  Matrix<int32_t> offset;  // blocks x tokens: sum base * q

  uint8_t* at(const PackedBlock& block, int64_t token) {
    return q.data() + (block.input * tokens + token * block.input_bytes());
  }
  const uint8_t* at(const PackedBlock& block, int64_t token) const {
    return q.data() + (block.input * tokens + token * block.input_bytes());
  }
};
void quantize_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token,
                     QuantizedInputs& out);

// As floats.
struct FloatInputs {
  FloatInputs(const PackedMatrix& M, int64_t tokens);
  int64_t tokens;
  Matrix<float> z;       // tokens x packed columns
  Matrix<float> offset;  // tokens x blocks: sum base * z
};
void scale_inputs(const PackedMatrix& M, std::span<const float> x, int64_t token, FloatInputs& out);

}  // namespace watersic
