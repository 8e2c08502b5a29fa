// The reference of activations.cc.
#include "kernels/activations_scalar.h"

#include <cassert>
#include <cmath>
#include <cstddef>

#include "kernels/activations.h"

namespace watersic::kernels::scalar {

void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y) {
  assert(x.size() == weight.size() && x.size() == y.size());
  double sums[kSumLanes] = {};
  for (size_t i = 0; i < x.size(); ++i)
    sums[i % kSumLanes] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double mean = sum_of_lanes(sums) / static_cast<double>(x.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * weight[i];
}

void softmax(std::span<float> x) {
  if (x.empty()) return;
  const float top = *std::max_element(x.begin(), x.end());
  double sums[kSumLanes] = {};
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = exponential_of(x[i] - top);
    sums[i % kSumLanes] += static_cast<double>(x[i]);
  }
  const auto scale = static_cast<float>(1.0 / sum_of_lanes(sums));
  for (float& value : x) value *= scale;
}

void gate_with(std::span<float> gate, std::span<const float> up) {
  assert(gate.size() == up.size());
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = gated(gate[i], up[i]);
}

void rotate_pairs(std::span<const float> cosines, std::span<const float> sines,
                  std::span<float> head) {
  const size_t half = head.size() / 2;
  assert(cosines.size() == half && sines.size() == half);
  for (size_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosines[i] - b * sines[i];
    head[i + half] = b * cosines[i] + a * sines[i];
  }
}

}  // namespace watersic::kernels::scalar
