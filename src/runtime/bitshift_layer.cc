#include <cassert>
#include <utility>

#include "runtime/layers.h"

namespace watersic {

BitshiftMatrix bitshift_matrix(const QuantizedTensor& q, Bitshift stream,
                               std::span<const uint8_t> payload) {
  assert(q.groups == 0 && stream.layout.rows() == q.rows &&
         static_cast<int64_t>(stream.levels.size()) == q.live());
  std::vector<float> column_scale, row_scale;
  for (int64_t i = 0; i < q.live(); ++i) column_scale.push_back(q.column_scale.value(i));
  for (int64_t k = 0; k < q.rows && !q.row_scale.half.empty(); ++k)
    row_scale.push_back(q.row_scale.value(k));
  return {std::move(stream),    payload,  q.cols, live_inputs(q), column_scale,
          std::move(row_scale), q.strands};
}

BitshiftLayer::BitshiftLayer(BitshiftMatrix matrix, uint32_t rotation, std::vector<float> bias,
                             InputPrecision precision)
    : IntegerLayer(matrix.inputs, rotation, std::move(bias), precision), M_(std::move(matrix)) {}

void BitshiftLayer::multiply(ThreadPool& pool, MatrixView<const float> X, float beta,
                             MatrixView<float> Y) const {
  bitshift_multiply(pool, M_, X, precision(), bias(), beta, Y);
}

void BitshiftLayer::read_row(int64_t output, std::span<float> out) const {
  bitshift_row(M_, output, out);
}

}  // namespace watersic
