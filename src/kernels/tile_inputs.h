// The inputs of a product with a matrix of integers: of each of its columns the input times the
// column's scale, as they are or rounded to 8 or 16 bits. A matrix says which columns there are
// (`source`) and in which blocks it goes through them.
#pragma once

#include <cstdint>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

// Of some tokens. With z_v the inputs, a block's are scale * q, q the nearest integers of at most
// the block's limit, scale from the largest z_v. Block after block, and in a block token after
// token.
struct QuantizedInputs {
  template <class TiledMatrix>
  QuantizedInputs(const TiledMatrix& M, int64_t count)
      : tokens(count),
        q(static_cast<size_t>(count * M.input_bytes)),
        scale(static_cast<int64_t>(M.blocks.size()), count),
        offset(static_cast<int64_t>(M.blocks.size()), count) {}
  int64_t tokens;
  std::vector<uint8_t> q;  // tokens * input_bytes
  Matrix<float> scale;     // blocks x tokens
  Matrix<int32_t> offset;  // blocks x tokens: of sums of products with q

  template <class Block>
  uint8_t* at(const Block& block, int64_t token) {
    return q.data() + (block.input * tokens + token * block.input_bytes());
  }
  template <class Block>
  const uint8_t* at(const Block& block, int64_t token) const {
    return q.data() + (block.input * tokens + token * block.input_bytes());
  }
};

// As floats.
struct FloatInputs {
  template <class TiledMatrix>
  FloatInputs(const TiledMatrix& M, int64_t count)
      : tokens(count),
        z(count, static_cast<int64_t>(M.source.size())),
        offset(count, static_cast<int64_t>(M.blocks.size())) {}
  int64_t tokens;
  Matrix<float> z;       // tokens x the matrix's columns
  Matrix<float> offset;  // tokens x blocks: of sums of products with z
};

}  // namespace watersic
