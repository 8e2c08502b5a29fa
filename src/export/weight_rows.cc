#include "export/weight_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "watersic/error.h"

namespace watersic {

void for_all_rows(const WeightSource& source, const ModelTensor& tensor, float largest,
                  const char* type, const std::function<void(const Matrix<float>&)>& write) {
  const auto checked = [&](const Matrix<float>& values) {
    for (const float value : values.values()) {
      if (std::abs(value) > largest) {
        throw Error(fmt::format(
            "tensor '{}': expected values within the range of {}, found {}; bf16 holds it",
            tensor.name, type, value));
      }
    }
    write(values);
  };
  // The matrices with a row for each token are the largest by far. Kept in 16 bits, only some rows
  // of them are in memory at a time; quantized, they are decoded once for all rows.
  const bool by_token = tensor.name == kEmbedding || tensor.name == kHead;
  if (!by_token) return checked(source.matrix(tensor.name));
  constexpr int64_t kRows = 4096;
  for (int64_t from = 0; from < tensor.shape.rows; from += kRows) {
    std::vector<int32_t> rows(static_cast<size_t>(std::min(kRows, tensor.shape.rows - from)));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(from));
    checked(source.rows(tensor.name, rows));
  }
}

}  // namespace watersic
