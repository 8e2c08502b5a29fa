// A packed matrix at work: products with batches of tokens, and its rows.
#pragma once

#include <span>

#include "base/threads.h"
#include "kernels/packed_matrix.h"
#include "watersic/matrix.h"

namespace watersic {

// Y = X V^T + bias + beta Y: tokens x rows. `bias` may be empty. A token's outputs depend neither
// on the other tokens nor on the threads; with int8 inputs not on the machine either.
void packed_multiply(ThreadPool& pool, const PackedMatrix& M, MatrixView<const float> X,
                     InputPrecision precision, std::span<const float> bias, float beta,
                     MatrixView<float> Y);

// Row `output` of V, as dequantized: M.inputs values.
void packed_row(const PackedMatrix& M, int64_t output, std::span<float> out);

}  // namespace watersic
