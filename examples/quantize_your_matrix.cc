// A matrix of your own to 3 bits a weight: any linear layer, of an image model say. Given are its
// weights (outputs x inputs), row by row, and some inputs that it sees.
#include <watersic/layer.h>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <vector>

// Quantizes W in place, and returns the coded bytes.
std::vector<std::byte> quantize(watersic::MatrixView<float> W,
                                watersic::MatrixView<const float> inputs) {
  watersic::Matrix<double> S(W.cols(), W.cols());  // E[x x^T]
  for (int64_t t = 0; t < inputs.rows(); ++t)
    for (int64_t i = 0; i < S.rows(); ++i)
      for (int64_t j = 0; j < S.cols(); ++j)
        S(i, j) += double{inputs(t, i)} * double{inputs(t, j)} / double(inputs.rows());
  watersic::LayerResult result = watersic::quantize_layer(W, S, {.bits = 3});
  for (int64_t i = 0; i < W.rows(); ++i)
    for (int64_t j = 0; j < W.cols(); ++j) W(i, j) = result.dequantized(i, j);
  return result.coded;
}

int main() {
  // Your layer: here 64 filters of 3 x 3 over 8 channels, so 72 inputs each.
  const int64_t outputs = 64, features = 72, patches = 500;
  std::vector<float> weights(outputs * features), seen(patches * features);
  uint32_t state = 1;
  const auto noise = [&state] {  // in [-1, 1)
    state = state * 1664525U + 1013904223U;
    return static_cast<float>(state >> 8) / 8388608.0F - 1;
  };
  for (float& w : weights) w = noise();
  for (size_t i = 0; i < seen.size(); ++i)  // neighbouring pixels are alike
    seen[i] = (i % features == 0 ? 0 : 0.8F * seen[i - 1]) + noise();

  const std::vector<float> original = weights;
  const auto coded =
      quantize({weights.data(), outputs, features}, {seen.data(), patches, features});
  double error = 0, energy = 0;
  for (int64_t t = 0; t < patches; ++t) {
    for (int64_t i = 0; i < outputs; ++i) {
      double y = 0, difference = 0;
      for (int64_t j = 0; j < features; ++j) {
        const double x = seen[t * features + j], w = original[i * features + j];
        y += w * x;
        difference += (weights[i * features + j] - w) * x;
      }
      error += difference * difference;
      energy += y * y;
    }
  }
  std::cout << coded.size() << " bytes for " << weights.size() << " weights; the outputs change by "
            << 100 * error / energy << "% of their power\n";
}
