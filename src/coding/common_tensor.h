// One quantized matrix, as the encoder makes it and the decoder gives it back: integers and scales.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bitshift.h"
#include "base/half.h"
#include "base/rotation.h"
#include "watersic/matrix.h"

namespace watersic {

// Scales in 16 bits: value(i) = half[i] * 2^exponent, exact in float32. Empty means that all are 1;
// one entry serves all.
struct Scales {
  int32_t exponent = 0;
  std::vector<uint16_t> half;

  float value(int64_t i) const {
    if (half.empty()) return 1.0F;
    return std::ldexp(float_from_half(half[half.size() == 1 ? 0 : static_cast<size_t>(i)]),
                      exponent);
  }
};

// V (rows x cols), zero in dead columns; in the i-th live column, in float32 and in this order,
//   V[k, live[i]] = (row_scale[k] * column_scale[i]) * z(k, i)                      without groups
//   V[k, live[i]] = group_scale[k * groups + group_of(i)] * z(k, i)                 with groups
// where z = codes(k, i), or half of it (exact) with a trellis; with a rotation these are the rows
// of V R, which is undone in float32. k counts the rows as they are coded: with strands row k is
// V's row strand_row(k, rows, strands).
struct QuantizedTensor {
  int64_t rows = 0, cols = 0;
  // States of the trellis (base/trellis.h) that runs down each column; 0: none, a scalar quantizer.
  int trellis = 0;
  // With a trellis: the rows after which each column's state starts anew at 0. Without: 0.
  int64_t segment_rows = 0;
  // Seed of a random rotation R of the inputs (base/rotation.h); 0: none. What is coded is V R.
  uint32_t rotation = 0;
  int64_t strands = 1;  // equal parts whose rows are coded in turn (base/strands.h); divides rows
  std::vector<int32_t> dead;  // indices of the dead columns, rising
  // rows x live columns: the integer k; with a trellis m = 2k + q, q the last bit of the state.
  Matrix<int32_t> codes;
  // In the runnable layout: what the codes are stored as (base/bitshift.h). Then there is no
  // trellis of the other kind, and there are no groups.
  Bitshift bitshift;
  std::vector<uint8_t> payload;
  Scales row_scale;     // rows entries, or empty
  Scales column_scale;  // one for each live column, or one for all
  Scales group_scale;   // rows x groups, row-major; empty without groups
  int64_t groups = 0;
  std::vector<int32_t> column_group;  // with groups: the group of each live column

  int64_t live() const { return cols - static_cast<int64_t>(dead.size()); }
};

// Rows of V, as above and in V's own order. `tensor` must outlive it.
class RowDequantizer {
 public:
  explicit RowDequantizer(const QuantizedTensor& tensor);
  void row(int64_t k, std::span<float> out) const;  // cols values
  Matrix<float> rows(int64_t first, int64_t count) const;

 private:
  const QuantizedTensor& tensor_;
  std::vector<int64_t> live_;
  std::vector<int64_t> position_;  // of each row among the coded ones, where those have an order
  std::vector<float> column_scale_;
  std::unique_ptr<RandomRotation> rotation_;
};

// All of V, rows x cols.
Matrix<float> dequantize(const QuantizedTensor& tensor);

}  // namespace watersic
