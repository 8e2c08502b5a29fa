// A tensor in the runnable layout to bytes: docs/format.md, "The runnable tensor".
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coding/common_tensor.h"

namespace watersic {

// The codes are not looked at. Throws Error where the tensor can't be written.
std::vector<std::byte> encode_bitshift(const QuantizedTensor& tensor);
// Bytes of everything but the payload.
int64_t bitshift_head_bytes(const QuantizedTensor& tensor);

}  // namespace watersic
