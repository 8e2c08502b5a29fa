// What no quantizer can beat, and what theory promises those that there are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

// For W with i.i.d. N(0, variance) entries and inputs of second moment S (docs/algorithm.md, "The
// limit"). Rates are bits a weight.
struct LimitPoint {
  double distortion = 0;   // D
  double bits = 0;         // R(D)
  double water_level = 0;  // theta
  int64_t active = 0;      // eigenvalues of S that are above it
};

struct LimitReport {
  int64_t features = 0;
  double variance = 1;               // of the weights: mean(W^2), or 1
  double trace = 0;                  // tr S / n
  double largest = 0, smallest = 0;  // eigenvalues
  // Bits above R(D) at high rate, entropy-coded (arXiv 2601.17187, 2605.13768): with an integer
  // quantizer WaterSIC stays 1/2 log2(2 pi e / 12) above for every S; GPTQ pays besides for the
  // spread of the l_ii^2 of the Cholesky factor, 1/2 log2 of the arithmetic over the geometric
  // mean.
  double watersic_gap = 0, gptq_gap = 0;
  double rotated_gptq_gap = 0;  // GPTQ after a random rotation of the inputs
  std::vector<LimitPoint> points;
};

// At rates `bits`; W may be empty. `seed`: of the rotation. Throws Error where S is no covariance.
LimitReport information_limit(MatrixView<const double> S, MatrixView<const float> W,
                              const std::vector<double>& bits, uint64_t seed = 1, int threads = 0);

std::string to_json(const LimitReport& report);

}  // namespace watersic
