// Scales as they are stored: halves with as many bits as pay.
#pragma once

#include <cstdint>
#include <span>

#include "coding/common_tensor.h"

namespace watersic {

// How many of the ten mantissa bits of a set of scales are not worth their room. A relative error e
// adds e^2 of the signal to the distortion, of which 1/2 log2 counts: dropping d bits leaves e^2 of
// about 0.045 * 4^(d - 10), and the signal is some 3 * 4^bits times the distortion. One of the
// scales serves `weights` weights, so that each bit dropped saves 1 / weights.
int bits_to_drop(double bits, int64_t weights);

// The nearest halves whose last `drop` mantissa bits are zero, with one exponent for all.
Scales to_scales(std::span<const double> values, int drop);

}  // namespace watersic
