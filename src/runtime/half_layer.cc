#include <algorithm>
#include <array>

#include "base/half.h"
#include "linalg/blas.h"
#include "runtime/layers.h"

namespace watersic {
namespace {

constexpr int64_t kOutputTile = 64;

}  // namespace

HalfLayer::HalfLayer(HalfKind kind, std::span<const uint16_t> weights, int64_t rows, int64_t cols,
                     std::vector<float> bias)
    : kind_(kind),
      rows_(rows),
      cols_(cols),
      in_vectors_(kFewTokens),
      weights_(weights),
      bias_(std::move(bias)) {}

HalfLayer::HalfLayer(HalfKind kind, MatrixView<const float> W, std::vector<float> bias,
                     int64_t in_vectors)
    : kind_(kind),
      rows_(W.rows()),
      cols_(W.cols()),
      in_vectors_(in_vectors),
      bias_(std::move(bias)) {
  held_.reserve(static_cast<size_t>(rows_ * cols_));
  for (int64_t i = 0; i < rows_; ++i)
    for (const float w : W.row(i))
      held_.push_back(kind == HalfKind::kBf16 ? bf16_from_float(w) : half_from_float(w));
  weights_ = held_;
}

int64_t HalfLayer::bytes() const {
  return 2 * rows_ * cols_ + static_cast<int64_t>(bias_.size() * sizeof(float));
}

void HalfLayer::apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
                      MatrixView<float> Y) const {
  if (X.rows() <= in_vectors_) {
    pool.parallel_for(tile_count(rows_, kOutputTile), [&](int64_t tile) {
      const int64_t first = tile * kOutputTile, count = std::min(kOutputTile, rows_ - first);
      std::array<float, kOutputTile> sums;
      for (int64_t i = 0; i < X.rows(); ++i) {
        half_product(kind_, row(first, count), X.row(i),
                     std::span(sums).first(static_cast<size_t>(count)));
        for (int64_t r = 0; r < count; ++r) {
          float value = sums[static_cast<size_t>(r)];
          if (!bias_.empty()) value += bias_[static_cast<size_t>(first + r)];
          float& y = Y(i, first + r);
          y = beta == 0 ? value : value + beta * y;
        }
      }
    });
    return;
  }
  // So many outputs at a time that the wide weights stay small; DenseLayer's tiles, so its values.
  constexpr int64_t kOutputs = 8 * kTileOutputs;
  for (int64_t first = 0; first < rows_; first += kOutputs) {
    const int64_t count = std::min(kOutputs, rows_ - first);
    DenseLayer part(Matrix<float>(count, cols_));
    pool.parallel_for(count,
                      [&](int64_t r) { widen(kind_, row(first + r, 1), part.weight.row(r)); });
    if (!bias_.empty()) part.bias.assign(bias_.begin() + first, bias_.begin() + first + count);
    part.apply(pool, length, X, beta, Y.block(0, first, Y.rows(), count));
  }
}

Matrix<float> HalfLayer::rows(ThreadPool& /*pool*/, std::span<const int32_t> ids) const {
  Matrix<float> out(static_cast<int64_t>(ids.size()), cols_);
  for (size_t i = 0; i < ids.size(); ++i)
    widen(kind_, row(ids[i], 1), out.row(static_cast<int64_t>(i)));
  return out;
}

}  // namespace watersic
