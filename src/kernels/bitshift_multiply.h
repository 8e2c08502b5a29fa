// A bitshift matrix at work: products with batches of tokens, and its rows.
#pragma once

#include <span>

#include "base/threads.h"
#include "kernels/bitshift_matrix.h"
#include "kernels/tiles.h"
#include "watersic/matrix.h"

namespace watersic {

// Y = X V^T + bias + beta Y: tokens x rows. `bias` may be empty. A token's outputs depend neither
// on the other tokens nor on the threads; with quantized inputs, here of 16 bits, not on the
// machine either.
void bitshift_multiply(ThreadPool& pool, const BitshiftMatrix& M, MatrixView<const float> X,
                       InputPrecision precision, std::span<const float> bias, float beta,
                       MatrixView<float> Y);

// Row `output` of V, as dequantized: M.inputs values.
void bitshift_row(const BitshiftMatrix& M, int64_t output, std::span<float> out);

}  // namespace watersic
