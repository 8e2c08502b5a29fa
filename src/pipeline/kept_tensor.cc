#include "pipeline/kept_tensor.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/half.h"

namespace watersic {

// A few rows at a time: an embedding of a large model in float32 would be larger than all else.
std::vector<std::byte> in_16_bits(const WeightSource& source, const std::string& name, bool half) {
  constexpr int64_t kRows = 4096;
  const WeightSource::Shape shape = source.shape(name);
  std::vector<std::byte> bytes(static_cast<size_t>(2 * shape.rows * shape.cols));
  size_t at = 0;
  for (int64_t from = 0; from < shape.rows; from += kRows) {
    std::vector<int32_t> rows(static_cast<size_t>(std::min(kRows, shape.rows - from)));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(from));
    const Matrix<float> values = source.rows(name, rows);
    for (const float value : values.values()) {
      const uint16_t bits = half ? half_from_float(value) : bf16_from_float(value);
      std::memcpy(bytes.data() + at, &bits, 2);
      at += 2;
    }
  }
  return bytes;
}

}  // namespace watersic
