// Blocks of GGUF's quantized types to float32.
//
// With d, m the block's halves and q the integer of a value:
//
//   Q4_0, Q5_0, Q8_0, Q8_1   d (q - 8), d (q - 16), d q, d q
//   Q4_1, Q5_1               d q + m
//   IQ4_NL, MXFP4            d t(q) with a table t; MXFP4's d is a power of two
//
// Superblocks of 256, whose runs of 16 or 32 values have an integer s for scale, and some an
// integer n for minimum:
//
//   Q2_K, Q4_K, Q5_K         (d s) q - (m n)
//   Q3_K, Q6_K               (d s) (q - 4), (d s) (q - 32)
//   IQ4_XS                   (d s) t(q)
//   TQ1_0, TQ2_0             d (q - 1), q one of 0, 1, 2
//
// Products and sums are float32's, in the order written, each rounded by itself: the values are
// ggml's, bit for bit.
#pragma once

#include <cstddef>
#include <span>

#include "io/gguf_types.h"

namespace watersic {

// `type` is a quantized one; the size of `values` is a multiple of its block's, and `blocks` has
// the bytes of as many blocks. Values may be NaN or infinite, as scales may be.
void dequantize(GgufType type, std::span<const std::byte> blocks, std::span<float> values);

}  // namespace watersic
