#include "coding/common_tensor.h"

#include <algorithm>

#include "base/strands.h"

namespace watersic {

RowDequantizer::RowDequantizer(const QuantizedTensor& tensor) : tensor_(tensor) {
  for (int64_t j = 0, d = 0; j < tensor.cols; ++j) {
    if (d < static_cast<int64_t>(tensor.dead.size()) && tensor.dead[static_cast<size_t>(d)] == j) {
      ++d;
    } else {
      live_.push_back(j);
    }
  }
  for (size_t i = 0; i < live_.size(); ++i)
    column_scale_.push_back(tensor.column_scale.value(static_cast<int64_t>(i)));
  if (!tensor.bitshift.row_order.empty()) {
    position_.resize(static_cast<size_t>(tensor.rows));
    for (size_t k = 0; k < position_.size(); ++k)
      position_[static_cast<size_t>(tensor.bitshift.row_order[k])] = static_cast<int64_t>(k);
  }
  if (tensor.rotation != 0)
    rotation_ = std::make_unique<RandomRotation>(tensor.cols, tensor.rotation);
}

void RowDequantizer::row(int64_t row, std::span<float> out) const {
  const QuantizedTensor& q = tensor_;
  // Where it stands among the coded rows: the inverse is an interleaving, too.
  const int64_t k = position_.empty() ? strand_row(row, q.rows, q.rows / q.strands)
                                      : position_[static_cast<size_t>(row)];
  const float unit = q.trellis > 0 ? 0.5F : 1.0F;
  const auto codes = q.codes.row(k);
  std::ranges::fill(out, 0.0F);
  if (q.groups > 0) {
    std::vector<float> scale;
    for (int64_t g = 0; g < q.groups; ++g) scale.push_back(q.group_scale.value(k * q.groups + g));
    for (size_t i = 0; i < live_.size(); ++i)
      out[static_cast<size_t>(live_[i])] =
          scale[static_cast<size_t>(q.column_group[i])] * (static_cast<float>(codes[i]) * unit);
  } else {
    const float row_scale = q.row_scale.value(k);
    for (size_t i = 0; i < live_.size(); ++i)
      out[static_cast<size_t>(live_[i])] =
          (row_scale * column_scale_[i]) * (static_cast<float>(codes[i]) * unit);
  }
  if (rotation_) rotation_->undo(out);
}

Matrix<float> RowDequantizer::rows(int64_t first, int64_t count) const {
  Matrix<float> V(count, tensor_.cols);
  for (int64_t k = 0; k < count; ++k) row(first + k, V.row(k));
  return V;
}

Matrix<float> dequantize(const QuantizedTensor& tensor) {
  return RowDequantizer(tensor).rows(0, tensor.rows);
}

}  // namespace watersic
