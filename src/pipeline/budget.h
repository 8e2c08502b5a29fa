// The rate budget: bits left over the weights left, so that what one layer missed is made good by
// those to come (WaterSIC, arXiv 2603.04956, section 4.6).
#pragma once

#include <algorithm>
#include <cstdint>

#include "encode/encode_layer.h"

namespace watersic {

class RateBudget {
 public:
  RateBudget() = default;
  // Of `weights` weights; those of layers whose rate is given (`fixed`, with their bits) don't
  // share.
  RateBudget(double bits_a_weight, int64_t weights, int64_t fixed_weights, double fixed_bits)
      : bits_(bits_a_weight * static_cast<double>(weights) - fixed_bits),
        weights_(static_cast<double>(weights - fixed_weights)) {}

  // For a layer of so many weights, of which the dead cost nothing: they don't count as weights
  // left, and the rate for each live one is spread over all. `offset`: what this layer gets on top;
  // over all layers that share the budget, offsets are worth nothing.
  double rate(int64_t weights, int64_t dead_weights, double offset = 0) const {
    const auto dead = static_cast<double>(dead_weights), all = static_cast<double>(weights);
    const double each = bits_ / std::max(1.0, weights_ - dead);
    return std::clamp((each + offset) * (all - dead) / all, 0.05, 16.0);
  }
  void spent(int64_t weights, double bits_a_weight, double offset = 0) {
    bits_ -= (bits_a_weight - offset) * static_cast<double>(weights);
    weights_ -= static_cast<double>(weights);
  }
  // How far the next layer may miss its rate: so little that those to come need not notice, and
  // that bits a little off their place cost nothing that shows (0.05 of them 0.1 % of the
  // distortion).
  double tolerance(int64_t weights) const {
    const double others = weights_ / static_cast<double>(weights) - 1;
    return kRateTolerance * std::clamp(others, 1.0, 25.0);
  }
  double average() const { return weights_ > 0 ? bits_ / weights_ : 0; }

 private:
  double bits_ = 0, weights_ = 0;  // left
};

}  // namespace watersic
