// Products with matrices in 16 bits, IEEE half or bfloat16, as they lie in a file.
#pragma once

#include <cstdint>
#include <span>

namespace watersic {

enum class HalfKind { kHalf, kBf16 };

// Rows of x.size() values. out[r] = sum_j x[j] W[r, j], for as many rows as `out` has; W is
// row-major with rows of x.size().
void half_product(HalfKind kind, std::span<const uint16_t> W, std::span<const float> x,
                  std::span<float> out);
// The reference: sums in float64.
void half_product_scalar(HalfKind kind, std::span<const uint16_t> W, std::span<const float> x,
                         std::span<float> out);

// To float32, exactly.
void widen(HalfKind kind, std::span<const uint16_t> from, std::span<float> to);

}  // namespace watersic
