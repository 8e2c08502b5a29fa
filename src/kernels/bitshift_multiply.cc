#include "kernels/bitshift_multiply.h"

#include <cassert>
#include <vector>

#include "kernels/bitshift_inputs.h"
#include "kernels/bitshift_product.h"
#include "kernels/tiled_multiply.h"

namespace watersic {

void bitshift_multiply(ThreadPool& pool, const BitshiftMatrix& M, MatrixView<const float> X,
                       InputPrecision precision, std::span<const float> bias, float beta,
                       MatrixView<float> Y) {
  assert(X.cols() == M.inputs && Y.rows() == X.rows() && Y.cols() == M.rows);
  const auto product = [&](auto&&... arguments) { bitshift_product(arguments...); };
  if (precision == InputPrecision::kInt8) {
    tiled_multiply<QuantizedInputs>(pool, M, X, quantize_inputs, product, bias, beta, Y);
  } else {
    tiled_multiply<FloatInputs>(pool, M, X, scale_inputs, product, bias, beta, Y);
  }
}

void bitshift_row(const BitshiftMatrix& M, int64_t output, std::span<float> out) {
  const int64_t k = M.row_of(output);
  const int64_t tile = k / kTileRows, row = k % kTileRows;
  std::vector<int32_t> integers(static_cast<size_t>(M.inputs));
  for (const BitshiftBlock& block : M.blocks) {
    const BitshiftChunks chunks = M.chunks(tile, block);
    if (chunks.rate == 0) continue;
    const int64_t column = M.layout.runs()[static_cast<size_t>(block.run)].begin + block.first;
    for (int64_t i = 0; i < block.columns; ++i) {
      const int stage = M.layout.columns()[static_cast<size_t>(column + i)].stage;
      integers[static_cast<size_t>(M.source[static_cast<size_t>(block.column + i)])] +=
          stage_unit(stage) * code_unit(chunks.rate) *
          read_code(M.memory, chunks.rate, chunks.of(i), row);
    }
  }
  add_exceptions(M.exceptions_of(tile), row, integers);
  const float row_scale = M.row_scale.empty() ? 1 : M.row_scale[static_cast<size_t>(k)];
  for (size_t j = 0; j < integers.size(); ++j)
    out[j] = (row_scale * M.column_scale[j]) * static_cast<float>(integers[j]);
}

}  // namespace watersic
