// Products of a tile of a bitshift matrix with the inputs of a few tokens.
#pragma once

#include <cstdint>

#include "kernels/bitshift_inputs.h"
#include "kernels/bitshift_matrix.h"

namespace watersic {

// out[token * 64 + row] = sum over columns of code * input for the tile's rows and the tokens
// [token, token + tokens), at most kProductTokens. Row scales and exceptions are not in it. With
// quantized inputs the same bits on every target, and for a token whatever the others: products and
// sums of a block are exact, blocks are added in their order.
void bitshift_product(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x,
                      int64_t token, int64_t tokens, float* out);
void bitshift_product(const BitshiftMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                      int64_t tokens, float* out);

// What bitshift_product does for more than one token.
void bitshift_batch_product(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x,
                            int64_t token, int64_t tokens, float* out);

// The reference, from the layout's definition.
void bitshift_product_scalar(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x,
                             int64_t token, int64_t tokens, float* out);
void bitshift_product_scalar(const BitshiftMatrix& M, int64_t tile, const FloatInputs& x,
                             int64_t token, int64_t tokens, float* out);

}  // namespace watersic
