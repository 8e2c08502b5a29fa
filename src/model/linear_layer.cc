#include "model/linear_layer.h"

#include <algorithm>
#include <cassert>

#include "linalg/blas.h"

namespace watersic {

void for_each_tile(ThreadPool& pool, int64_t tokens, int64_t length, int64_t outputs,
                   const std::function<void(const LayerTile&)>& body) {
  assert(length > 0 && tokens % length == 0);
  const int64_t down = tile_count(length, kTileTokens), across = tile_count(outputs, kTileOutputs);
  pool.parallel_for(tokens / length * down * across, [&](int64_t index) {
    const int64_t window = index / (down * across), within = index / across % down * kTileTokens;
    const int64_t output = index % across * kTileOutputs;
    body({.token = window * length + within,
          .tokens = std::min(kTileTokens, length - within),
          .output = output,
          .outputs = std::min(kTileOutputs, outputs - output)});
  });
}

int64_t DenseLayer::bytes() const {
  return static_cast<int64_t>(sizeof(float)) * (weight.size() + static_cast<int64_t>(bias.size()));
}

void DenseLayer::apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
                       MatrixView<float> Y) const {
  assert(X.cols() == inputs() && Y.rows() == X.rows() && Y.cols() == outputs());
  const MatrixView<const float> W = weight;
  for_each_tile(pool, X.rows(), length, outputs(), [&](const LayerTile& tile) {
    const auto y = Y.block(tile.token, tile.output, tile.tokens, tile.outputs);
    // One BLAS call: gemm is serial inside a tile.
    gemm(pool, Op::kNone, Op::kTranspose, 1.0F, X.block(tile.token, 0, tile.tokens, X.cols()),
         W.block(tile.output, 0, tile.outputs, W.cols()), beta, y);
    if (bias.empty()) return;
    const auto b = std::span(bias).subspan(static_cast<size_t>(tile.output));
    for (int64_t r = 0; r < y.rows(); ++r)
      for (int64_t c = 0; c < y.cols(); ++c) y(r, c) += b[static_cast<size_t>(c)];
  });
}

Matrix<float> DenseLayer::rows(ThreadPool& /*pool*/, std::span<const int32_t> ids) const {
  Matrix<float> out(static_cast<int64_t>(ids.size()), inputs());
  for (size_t i = 0; i < ids.size(); ++i)
    std::ranges::copy(weight.row(ids[i]), out.row(static_cast<int64_t>(i)).begin());
  return out;
}

}  // namespace watersic
