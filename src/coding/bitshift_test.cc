// Tensors in the runnable layout, to bytes and back.
#include "base/bitshift.h"

#include <gtest/gtest.h>

#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "support/bitshift_tensors.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(BitshiftTensor, ComesBackAsItWas) {
  ThreadPool pool(2);
  for (const int64_t rows : {64, 100, 130, 300}) {
    for (const int memory : {8, 13, 16}) {
      const QuantizedTensor q =
          bitshift_tensor({.rows = rows, .live = 40, .memory = memory, .ordered = rows == 130});
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
  const QuantizedTensor q =
      bitshift_tensor({.rows = 100, .live = 20, .memory = 12, .ordered = true});
  const auto blob = encode_tensor(q, pool);
  const size_t head = blob.size() - q.payload.size();
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
