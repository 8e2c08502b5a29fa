#include "kernels/packed_multiply.h"

#include <cassert>
#include <vector>

#include "base/strands.h"
#include "kernels/packed_inputs.h"
#include "kernels/packed_product.h"
#include "kernels/tiled_multiply.h"

namespace watersic {
void packed_multiply(ThreadPool& pool, const PackedMatrix& M, MatrixView<const float> X,
                     InputPrecision precision, std::span<const float> bias, float beta,
                     MatrixView<float> Y) {
  assert(X.cols() == M.inputs && Y.rows() == X.rows() && Y.cols() == M.rows);
  const auto product = [&](auto&&... arguments) { packed_product(arguments...); };
  if (precision == InputPrecision::kInt8) {
    tiled_multiply<QuantizedInputs>(pool, M, X, quantize_inputs, product, bias, beta, Y);
  } else {
    tiled_multiply<FloatInputs>(pool, M, X, scale_inputs, product, bias, beta, Y);
  }
}

void packed_row(const PackedMatrix& M, int64_t output, std::span<float> out) {
  const int64_t k = strand_row(output, M.rows, M.rows / M.strands);  // the inverse interleaves, too
  const int64_t tile = k / kTileRows, row = k % kTileRows;
  std::vector<int32_t> integers(static_cast<size_t>(M.inputs));
  const auto data = M.tile(tile);
  for (const PackedBlock& block : M.blocks) {
    for (int64_t i = 0; i < block.columns(); ++i) {
      const auto v = static_cast<size_t>(block.column + i);
      const auto quad =
          data.subspan(static_cast<size_t>(block.offset + i / 4 * quad_bytes(block.width)));
      const int32_t digit = packed_value(quad, block.width, row, i % 4) + M.base[v];
      if (M.scale[v] != 0) integers[static_cast<size_t>(M.source[v])] += digit * (1 << M.shift[v]);
    }
  }
  add_exceptions(M.exceptions_of(tile), row, integers);
  const float row_scale = M.row_scale.empty() ? 1 : M.row_scale[static_cast<size_t>(k)];
  for (size_t j = 0; j < integers.size(); ++j) {
    const float scale = M.groups == 0
                            ? row_scale * M.column_scale[j]
                            : M.group_scale[static_cast<size_t>(
                                  (tile * M.groups + M.column_group[j]) * kTileRows + row)] *
                                  M.column_scale[j];
    out[j] = scale * static_cast<float>(integers[j]);
  }
}

}  // namespace watersic
