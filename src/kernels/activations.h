// What a block does to rows besides its products, in vectors. Without fused multiply-adds and with
// sums in a fixed order: every instruction set gives the same bits as the scalar code.
#pragma once

#include <span>

namespace watersic::kernels {

// e^x within 2 units in the last place; NaN stays NaN.
float exponential(float x);

// y = x / sqrt(mean of x^2 + epsilon) * weight; the squares are summed in float64. x and y may be
// the same.
void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y);
// softmax(x) in place; the sum is made in float64.
void softmax(std::span<float> x);
// gate := silu(gate) * up
void gate_with(std::span<float> gate, std::span<const float> up);
// The pairs (head[i], head[i + half]) turned by the angles of `cosines` and `sines`.
void rotate_pairs(std::span<const float> cosines, std::span<const float> sines,
                  std::span<float> head);

namespace scalar {

void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y);
void softmax(std::span<float> x);
void gate_with(std::span<float> gate, std::span<const float> up);
void rotate_pairs(std::span<const float> cosines, std::span<const float> sines,
                  std::span<float> head);

}  // namespace scalar
}  // namespace watersic::kernels
