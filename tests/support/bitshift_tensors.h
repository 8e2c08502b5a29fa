// Tensors in the runnable layout, for tests of their coding: any bits are one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/bitshift.h"
#include "base/rng.h"
#include "coding/common_tensor.h"

namespace watersic {

struct BitshiftTensorShape {
  int64_t rows, live;
  int memory = 16;
  bool ordered = false;  // rows in an order of their own
};

// Two tiles a segment, rates of all kinds, exceptions, dead columns.
inline QuantizedTensor bitshift_tensor(const BitshiftTensorShape& shape) {
  const auto& [rows, live, memory, ordered] = shape;
  Rng rng(static_cast<uint64_t>(rows + memory));
  QuantizedTensor q{.rows = rows, .cols = live + 2, .dead = {0, 3}};
  Bitshift& b = q.bitshift;
  b.memory = memory;
  for (int64_t i = 0; i < live; ++i)
    b.levels.push_back(static_cast<int32_t>(rng.below(i % 16 == 0 ? 44 : 12)) - 1);
  for (int64_t t = 0; t < bitshift_tiles(rows); ++t)
    b.offsets.push_back(static_cast<int32_t>(rng.below(7)) - 3);
  b.layout = BitshiftLayout(rows, 2 * kBitshiftRows, b.levels, b.offsets);
  q.payload.resize(static_cast<size_t>(b.layout.payload_bytes() - kBitshiftPadding));
  for (uint8_t& byte : q.payload) byte = static_cast<uint8_t>(rng.bits());
  // What fills up the starts is 0.
  const auto starts =
      static_cast<size_t>(b.layout.start((rows + 2 * kBitshiftRows - 1) / (2 * kBitshiftRows), 0));
  for (size_t i = starts; i < (starts + 31) / 32 * 32; ++i) q.payload[i] = 0;
  q.payload.resize(static_cast<size_t>(b.layout.payload_bytes()));
  b.exceptions = {{.row = 1, .column = 2, .value = -128},
                  {.row = rows - 1, .column = 0, .value = 5}};
  for (int64_t k = 0; ordered && k < rows; ++k)
    b.row_order.push_back(static_cast<int32_t>(rows - 1 - k));
  q.row_scale = {.exponent = -3, .half = std::vector<uint16_t>(static_cast<size_t>(rows), 0x3C10)};
  q.column_scale = {.exponent = -9,
                    .half = std::vector<uint16_t>(static_cast<size_t>(live), 0x3555)};
  q.codes = Matrix<int32_t>(rows, live);
  for (int64_t t = 0; t < bitshift_tiles(rows); ++t)
    read_tile(b, q.payload, t,
              q.codes.view().block(t * kBitshiftRows, 0,
                                   std::min(kBitshiftRows, rows - t * kBitshiftRows), live));
  return q;
}

}  // namespace watersic
