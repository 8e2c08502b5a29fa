#include "model/rope.h"

#include <cassert>
#include <cmath>
#include <numbers>

namespace watersic {

// All in float32, step by step, since that is what models are trained and run with; only the power
// itself is taken in float64 and rounded.
std::vector<float> rope_frequencies(const RopeConfig& rope, int64_t head_dim) {
  const auto factor = static_cast<float>(rope.factor);
  std::vector<float> frequencies;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    float frequency =
        1.0F / static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    if (rope.type == RopeConfig::Type::kLinear) {
      frequency /= factor;
    } else if (rope.type == RopeConfig::Type::kLlama3) {
      const auto original = static_cast<float>(rope.original_max_positions);
      const auto low = static_cast<float>(rope.low_frequency_factor);
      const auto high = static_cast<float>(rope.high_frequency_factor);
      const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
      if (wavelength > original / low) {
        frequency /= factor;
      } else if (wavelength >= original / high) {
        const float smooth = (original / wavelength - low) / (high - low);
        frequency = (1 - smooth) * frequency / factor + smooth * frequency;
      }
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

RopeTable::RopeTable(const ModelConfig& config, int64_t length)
    : cosines_(length, config.head_dim / 2), sines_(length, config.head_dim / 2) {
  const std::vector<float> frequencies = rope_frequencies(config.rope, config.head_dim);
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t i = 0; i < cosines_.cols(); ++i) {
      const double angle =
          static_cast<double>(t) * static_cast<double>(frequencies[static_cast<size_t>(i)]);
      cosines_(t, i) = static_cast<float>(std::cos(angle));
      sines_(t, i) = static_cast<float>(std::sin(angle));
    }
  }
}

void RopeTable::rotate(int64_t position, std::span<float> head) const {
  const size_t half = head.size() / 2;
  assert(static_cast<int64_t>(half) == cosines_.cols());
  const auto cosines = cosines_.row(position), sines = sines_.row(position);
  for (size_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosines[i] - b * sines[i];
    head[i + half] = b * cosines[i] + a * sines[i];
  }
}

void RopeTable::rotate_back(int64_t position, std::span<float> head) const {
  const size_t half = head.size() / 2;
  assert(static_cast<int64_t>(half) == cosines_.cols());
  const auto cosines = cosines_.row(position), sines = sines_.row(position);
  for (size_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosines[i] + b * sines[i];
    head[i + half] = b * cosines[i] - a * sines[i];
  }
}

}  // namespace watersic
