#include "runtime/layers.h"

#include <algorithm>
#include <utility>

namespace watersic {

IntegerLayer::IntegerLayer(int64_t inputs, uint32_t rotation, std::vector<float> bias,
                           InputPrecision precision)
    : rotation_(rotation == 0 ? nullptr : std::make_unique<RandomRotation>(inputs, rotation)),
      bias_(std::move(bias)),
      precision_(precision) {}

void IntegerLayer::apply(ThreadPool& pool, int64_t /*length*/, MatrixView<const float> X,
                         float beta, MatrixView<float> Y) const {
  if (!rotation_) {
    multiply(pool, X, beta, Y);
    return;
  }
  Matrix<float> turned(X.rows(), X.cols());
  pool.parallel_for(X.rows(), [&](int64_t i) {
    std::ranges::copy(X.row(i), turned.row(i).begin());
    rotation_->apply(turned.row(i));
  });
  multiply(pool, turned, beta, Y);
}

Matrix<float> IntegerLayer::rows(ThreadPool& pool, std::span<const int32_t> ids) const {
  Matrix<float> out(static_cast<int64_t>(ids.size()), inputs());
  pool.parallel_for(out.rows(), [&](int64_t i) {
    read_row(ids[static_cast<size_t>(i)], out.row(i));
    if (rotation_) rotation_->undo(out.row(i));
  });
  return out;
}

std::vector<int32_t> live_inputs(const QuantizedTensor& q) {
  std::vector<int32_t> live;
  for (int32_t input = 0; input < q.cols; ++input)
    if (!std::ranges::binary_search(q.dead, input)) live.push_back(input);
  return live;
}

}  // namespace watersic
