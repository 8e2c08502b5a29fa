#include "coding/common_tensor.h"

#include "base/rotation.h"
#include "base/strands.h"

namespace watersic {

Matrix<float> dequantize(const QuantizedTensor& q) {
  Matrix<float> V(q.rows, q.cols);
  std::vector<int64_t> live;
  for (int64_t j = 0, d = 0; j < q.cols; ++j) {
    if (d < static_cast<int64_t>(q.dead.size()) && q.dead[static_cast<size_t>(d)] == j) {
      ++d;
    } else {
      live.push_back(j);
    }
  }
  std::vector<float> column_scale;
  for (size_t i = 0; i < live.size(); ++i)
    column_scale.push_back(q.column_scale.value(static_cast<int64_t>(i)));
  const float unit = q.trellis > 0 ? 0.5F : 1.0F;
  for (int64_t k = 0; k < q.rows; ++k) {
    const auto codes = q.codes.row(k);
    const auto out = V.row(strand_row(k, q.rows, q.strands));
    if (q.groups > 0) {
      std::vector<float> scale;
      for (int64_t g = 0; g < q.groups; ++g) scale.push_back(q.group_scale.value(k * q.groups + g));
      for (size_t i = 0; i < live.size(); ++i)
        out[static_cast<size_t>(live[i])] =
            scale[static_cast<size_t>(q.column_group[i])] * (static_cast<float>(codes[i]) * unit);
    } else {
      const float row_scale = q.row_scale.value(k);
      for (size_t i = 0; i < live.size(); ++i)
        out[static_cast<size_t>(live[i])] =
            (row_scale * column_scale[i]) * (static_cast<float>(codes[i]) * unit);
    }
  }
  if (q.rotation != 0) {
    const RandomRotation rotation(q.cols, q.rotation);
    for (int64_t k = 0; k < q.rows; ++k) rotation.undo(V.row(k));
  }
  return V;
}

}  // namespace watersic
