// Rotary position embeddings, as transformers computes them: the rotation of the pair
// (x_i, x_{i + d/2}) of a head by the angle position * frequency_i.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "watersic/matrix.h"

namespace watersic {

// head_dim / 2 inverse frequencies, with the scaling of the configuration.
std::vector<float> rope_frequencies(const RopeConfig& rope, int64_t head_dim);

class RopeTable {
 public:
  // For positions [0, length).
  RopeTable(const ModelConfig& config, int64_t length);

  int64_t length() const { return cosines_.rows(); }
  // Of the pairs of a head at a position.
  std::span<const float> cosines(int64_t position) const { return cosines_.row(position); }
  std::span<const float> sines(int64_t position) const { return sines_.row(position); }
  // Rotates one head's vector in place.
  void rotate(int64_t position, std::span<float> head) const;
  // The inverse, which is also the transpose: takes gradients back.
  void rotate_back(int64_t position, std::span<float> head) const;

 private:
  Matrix<float> cosines_, sines_;  // length x head_dim / 2
};

}  // namespace watersic
