// A matrix to 2 bits a weight, given the second moment of its inputs.
#include <watersic/layer.h>

#include <cmath>
#include <iostream>
#include <random>

int main() {
  watersic::Matrix<float> W(256, 128);  // 256 outputs, 128 inputs
  std::mt19937 random;
  std::normal_distribution<float> gauss;
  for (float& w : W.values()) w = gauss(random);
  watersic::Matrix<double> S(128, 128);  // E[x x^T]: neighbouring inputs are alike
  for (int i = 0; i < 128; ++i)
    for (int j = 0; j < 128; ++j) S(i, j) = std::pow(0.9, std::abs(i - j));

  const watersic::LayerResult result = watersic::quantize_layer(W, S, {.bits = 2});
  std::cout << result.bits.file << " bits a weight, distortion " << result.distortion << ", "
            << result.gap << " bits above the limit\n";
}
