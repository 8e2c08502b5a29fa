// Matrices in the bitshift layout for tests and benchmarks: any bits are one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "base/bitshift.h"
#include "base/rng.h"
#include "base/strands.h"
#include "kernels/bitshift_matrix.h"
#include "watersic/matrix.h"

namespace watersic {

struct BitshiftShape {
  int64_t rows, columns;
  int64_t segment_rows = kBitshiftRows;
  std::vector<int32_t> levels{8};   // live column i has levels[i % size]
  std::vector<int32_t> offsets{0};  // tile t has offsets[t % size]
  int memory = 16;
  double far_out = 0;  // share of exceptions
  int64_t strands = 1;
  bool ordered = false;  // rows in a random order
  std::vector<int32_t> dead{};
};

struct BitshiftSample {
  Bitshift stream;
  std::vector<uint8_t> payload;
  std::vector<int32_t> live;
  std::vector<float> column_scale, row_scale;

  // Holds on to this sample's payload.
  BitshiftMatrix matrix(const BitshiftShape& shape) const {
    return {stream, payload, shape.columns, live, column_scale, row_scale, shape.strands};
  }
};

inline BitshiftSample bitshift_sample(const BitshiftShape& shape, uint64_t seed = 1) {
  Rng rng(seed);
  BitshiftSample out;
  for (int32_t j = 0; j < shape.columns; ++j)
    if (std::ranges::find(shape.dead, j) == shape.dead.end()) out.live.push_back(j);
  Bitshift& stream = out.stream;
  stream.memory = shape.memory;
  for (size_t i = 0; i < out.live.size(); ++i)
    stream.levels.push_back(shape.levels[i % shape.levels.size()]);
  for (int64_t t = 0; t < bitshift_tiles(shape.rows); ++t)
    stream.offsets.push_back(shape.offsets[static_cast<size_t>(t) % shape.offsets.size()]);
  stream.layout = BitshiftLayout(shape.rows, shape.segment_rows, stream.levels, stream.offsets);
  out.payload.resize(static_cast<size_t>(stream.layout.payload_bytes()));
  for (uint8_t& byte : out.payload) byte = static_cast<uint8_t>(rng.bits());
  for (int64_t r = 0; r < shape.rows && shape.far_out > 0; ++r) {
    for (size_t i = 0; i < out.live.size(); ++i) {
      if (rng.uniform() >= shape.far_out) continue;
      const auto value = static_cast<int32_t>(rng.bits() % 255) - 128;
      stream.exceptions.push_back({r, static_cast<int32_t>(i), value < 0 ? value : value + 1});
    }
  }
  if (shape.ordered) {
    stream.row_order.resize(static_cast<size_t>(shape.rows));
    std::iota(stream.row_order.begin(), stream.row_order.end(), 0);
    for (size_t k = stream.row_order.size(); k-- > 1;)
      std::swap(stream.row_order[k], stream.row_order[rng.below(k + 1)]);
  }
  const auto scale = [&] { return static_cast<float>(0.5 + rng.uniform()); };
  for (size_t i = 0; i < out.live.size(); ++i) out.column_scale.push_back(scale());
  for (int64_t r = 0; r < shape.rows; ++r) out.row_scale.push_back(scale());
  return out;
}

// V in the order of outputs, as RowDequantizer rounds.
inline Matrix<float> bitshift_values(const BitshiftShape& shape, const BitshiftSample& sample) {
  Matrix<float> V(shape.rows, shape.columns);
  Matrix<int32_t> Z(kBitshiftRows, static_cast<int64_t>(sample.live.size()));
  for (int64_t t = 0; t < bitshift_tiles(shape.rows); ++t) {
    const int64_t first = t * kBitshiftRows;
    const int64_t rows = std::min(kBitshiftRows, shape.rows - first);
    read_tile(sample.stream, sample.payload, t, Z.view().block(0, 0, rows, Z.cols()));
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t k = first + r;
      for (size_t i = 0; i < sample.live.size(); ++i)
        V(sample.stream.row_order.empty() ? strand_row(k, shape.rows, shape.strands)
                                          : sample.stream.row_order[static_cast<size_t>(k)],
          sample.live[i]) = (sample.row_scale[static_cast<size_t>(k)] * sample.column_scale[i]) *
                            static_cast<float>(Z(r, static_cast<int64_t>(i)));
    }
  }
  return V;
}

}  // namespace watersic
