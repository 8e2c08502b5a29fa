// Tensors in the runnable layout, to bytes and back.
#include "base/bitshift.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// Any bits are a matrix.
QuantizedTensor sample(int64_t rows, int64_t live, int memory, bool ordered) {
  Rng rng(static_cast<uint64_t>(rows + memory));
  QuantizedTensor q{.rows = rows, .cols = live + 2, .dead = {0, 3}};
  Bitshift& b = q.bitshift;
  b.memory = memory;
  for (int64_t i = 0; i < live; ++i)
    b.levels.push_back(static_cast<int32_t>(rng.below(i == 0 ? 44 : 12)) - 1);
  for (int64_t t = 0; t < bitshift_tiles(rows); ++t)
    b.offsets.push_back(static_cast<int32_t>(rng.below(7)) - 3);
  b.layout = BitshiftLayout(rows, 2 * kBitshiftRows, b.levels, b.offsets);
  q.payload.resize(static_cast<size_t>(b.layout.payload_bytes() - kBitshiftPadding));
  for (uint8_t& byte : q.payload) byte = static_cast<uint8_t>(rng.bits());
  // What fills up the starts is 0.
  const auto starts = static_cast<size_t>(b.layout.start((rows + 127) / 128, 0));
  for (size_t i = starts; i < (starts + 31) / 32 * 32; ++i) q.payload[i] = 0;
  q.payload.resize(static_cast<size_t>(b.layout.payload_bytes()));
  b.exceptions = {{.row = 1, .column = 2, .value = -128},
                  {.row = rows - 1, .column = 0, .value = 5}};
  for (int64_t k = 0; ordered && k < rows; ++k)
    b.row_order.push_back(static_cast<int32_t>(rows - 1 - k));
  q.row_scale = {.exponent = -3, .half = std::vector<uint16_t>(static_cast<size_t>(rows), 0x3C10)};
  q.column_scale = {.exponent = -9,
                    .half = std::vector<uint16_t>(static_cast<size_t>(live), 0x3555)};
  return q;
}

TEST(BitshiftTensor, ComesBackAsItWas) {
  ThreadPool pool(2);
  for (const int64_t rows : {64, 100, 130, 300}) {
    for (const int memory : {8, 13, 16}) {
      const QuantizedTensor q = sample(rows, 40, memory, rows == 130);
      const auto blob = encode_tensor(q, pool);
      const QuantizedTensor d = decode_tensor(blob, pool, "layer");
      EXPECT_EQ(d.payload, q.payload);
      EXPECT_EQ(d.bitshift.memory, memory);
      EXPECT_EQ(d.bitshift.levels, q.bitshift.levels);
      EXPECT_EQ(d.bitshift.offsets, q.bitshift.offsets);
      EXPECT_EQ(d.bitshift.row_order, q.bitshift.row_order);
      EXPECT_EQ(d.bitshift.exceptions.size(), 2U);
      EXPECT_EQ(d.row_scale.half, q.row_scale.half);
      EXPECT_EQ(d.dead, q.dead);
      for (int64_t t = 0; t < bitshift_tiles(rows); ++t) {
        const int64_t first = t * kBitshiftRows, count = std::min(kBitshiftRows, rows - first);
        Matrix<int32_t> Z(count, 40);
        read_tile(q.bitshift, q.payload, t, Z);
        for (int64_t k = 0; k < count; ++k)
          EXPECT_TRUE(std::ranges::equal(Z.row(k), d.codes.row(first + k)));
      }
      EXPECT_EQ(encode_tensor(d, pool), blob);
      const TensorSummary summary = summarize_tensor(blob, "layer");
      EXPECT_EQ(summary.state_bits, memory);
      EXPECT_EQ(summary.bits.total(), 8.0 * static_cast<double>(blob.size()));
      // An order of rows is one of V.
      const Matrix<float> V = dequantize(d);
      const int64_t row = q.bitshift.row_order.empty() ? 1 : rows - 2;
      EXPECT_EQ(V(row, 4),
                d.row_scale.value(1) * d.column_scale.value(2) * static_cast<float>(d.codes(1, 2)));
    }
  }
}

TEST(BitshiftTensor, DamageIsFoundOrHarmless) {
  ThreadPool pool(1);
  const auto blob = encode_tensor(sample(100, 20, 12, true), pool);
  const size_t head = blob.size() - sample(100, 20, 12, true).payload.size();
  for (size_t i = 0; i < blob.size(); i += i < head ? 1 : 37) {
    for (const int mask : {0x01, 0x80, 0xFF, 0x10}) {
      auto bad = blob;
      bad[i] ^= static_cast<std::byte>(mask);
      try {
        const QuantizedTensor d = decode_tensor(bad, pool, "layer");
        EXPECT_EQ(d.codes.size(), d.rows * d.live());
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("layer"), std::string::npos);
      }
    }
  }
  for (size_t n = 0; n < blob.size(); ++n)
    EXPECT_THROW(decode_tensor(std::span(blob).first(n), pool, "layer"), Error) << n;
  auto longer = blob;
  longer.resize(blob.size() + 2);
  EXPECT_THROW(decode_tensor(longer, pool, "layer"), Error);
}

}  // namespace
}  // namespace watersic
