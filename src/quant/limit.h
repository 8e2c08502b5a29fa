// The information-theoretic limit of a layer (docs/algorithm.md, "The limit"): reverse waterfilling
// over the eigenvalues of S.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace watersic {

struct Limit {
  double bits = 0;         // R(D), bits per weight
  double water_level = 0;  // theta
  int64_t active = 0;      // components above the water
};

// R(D) of W with i.i.d. N(0, variance) entries: theta is set by mean_i min(theta, variance l_i) =
// D, and R = mean_i max(0, 1/2 log2(variance l_i / theta)). eigenvalues: of S, in any order,
// negative ones (rounding) taken as 0. D <= 0 gives infinite bits.
Limit rate_at_distortion(std::span<const double> eigenvalues, double variance, double distortion);

// The eigenvalues of a Kronecker product, of which each factor's are given: for the limit under a
// metric of inputs and outputs. Where a factor has more than 512, neighbours are taken together by
// their mean.
std::vector<double> product_spectrum(std::span<const double> inputs,
                                     std::span<const double> outputs);

// R(D) under a metric of inputs and outputs, of which these are the eigenvalues; the outputs' are
// taken with a mean of 1, as the weighted distortion is (quant/layer.h).
Limit rate_at_weighted_distortion(std::span<const double> inputs, std::span<const double> outputs,
                                  double variance, double distortion);

// The inverse: the distortion D at which the limit is `bits`.
double distortion_at_rate(std::span<const double> eigenvalues, double variance, double bits);

}  // namespace watersic
