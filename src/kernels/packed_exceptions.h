// What the exceptions of a packed matrix add to a product: each times its own input.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "kernels/packed_matrix.h"
#include "watersic/matrix.h"

namespace watersic {

constexpr int64_t kExceptionTokens = 64;  // at a time

// Inputs as exceptions of many tokens want them: those of a column side by side.
class ColumnInputs {
 public:
  ColumnInputs(ThreadPool& pool, MatrixView<const float> X);
  // Of a column and the tokens from `token` on, a multiple of kExceptionTokens; beyond the last: 0.
  const float* at(int64_t token, int64_t column) const {
    return values_.row(token / kExceptionTokens * columns_ + column).data();
  }

 private:
  int64_t columns_;
  Matrix<float> values_;  // (groups of tokens x columns) x kExceptionTokens
};

// out[row] += integer * scale * input over the exceptions of a tile; x: the inputs of one token.
void add_exceptions(const PackedMatrix& M, int64_t tile, std::span<const float> x,
                    std::span<float> out);
// The same to the bit for `tokens` of them, at most kExceptionTokens: out[t * 64 + row].
void add_exceptions(const PackedMatrix& M, int64_t tile, const ColumnInputs& x, int64_t token,
                    int64_t tokens, std::span<float> out);

}  // namespace watersic
