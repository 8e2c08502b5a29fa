#include "pipeline/kept_tensor.h"

#include <algorithm>
#include <numeric>

#include "base/half.h"

namespace watersic {

// A few rows at a time: an embedding of a large model in float32 would be larger than all else.
std::vector<uint16_t> in_16_bits(const WeightSource& source, const std::string& name, bool half) {
  constexpr int64_t kRows = 4096;
  const WeightSource::Shape shape = source.shape(name);
  std::vector<uint16_t> out;
  out.reserve(static_cast<size_t>(shape.rows * shape.cols));
  for (int64_t from = 0; from < shape.rows; from += kRows) {
    std::vector<int32_t> rows(static_cast<size_t>(std::min(kRows, shape.rows - from)));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(from));
    const Matrix<float> values = source.rows(name, rows);
    for (const float value : values.values()) {
      out.push_back(half ? half_from_float(value) : bf16_from_float(value));
    }
  }
  return out;
}

}  // namespace watersic
