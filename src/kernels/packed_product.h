// Products of a tile of a packed matrix with the inputs of a few tokens.
#pragma once

#include <cstdint>

#include "kernels/packed_inputs.h"
#include "kernels/packed_matrix.h"

namespace watersic {

// out[token * 64 + row] = sum over columns of integer * input for the tile's rows and the tokens
// [token, token + tokens), at most kProductTokens; times the group's scale of the row where there
// are groups. Row scales and exceptions are not in it. With quantized inputs the same bits on every
// target, and for a token whatever the others: products and sums of a block are exact, blocks are
// added in their order.
void packed_product(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                    int64_t tokens, float* out);
void packed_product(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                    int64_t tokens, float* out);

// What packed_product does for more than one token.
void packed_batch_product(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x,
                          int64_t token, int64_t tokens, float* out);

// The reference, from the layout's definition.
void packed_product_scalar(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x,
                           int64_t token, int64_t tokens, float* out);
void packed_product_scalar(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                           int64_t tokens, float* out);

}  // namespace watersic
