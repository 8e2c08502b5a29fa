// The tensors that are not quantized: kept in 16 bits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/weights.h"

namespace watersic {

// All of a tensor's elements, row by row, as BF16 or F16.
std::vector<uint16_t> in_16_bits(const WeightSource& source, const std::string& name, bool half);

}  // namespace watersic
