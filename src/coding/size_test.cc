// What coding costs.
#include <gtest/gtest.h>

#include <algorithm>

#include "coding/dec_tensor.h"
#include "coding/enc_estimate.h"
#include "coding/enc_tensor.h"
#include "support/sample_tensors.h"

namespace watersic {
namespace {

TensorBits bits_of(const QuantizedTensor& q, Coder coder = Coder::kClasses) {
  ThreadPool pool(1);
  CodingPlan plan;
  plan.coder = coder;
  return tensor_bits(encode_tensor(q, plan, pool), "test");
}

// The price of real bits: states, tables, precision, all of it.
TEST(Size, PooledCloseToEntropy) {
  for (const int trellis : {0, 8}) {
    for (const int bits : {1, 2, 3, 4}) {
      for (const auto& [rows, cols, most] :
           {std::tuple{256, 256, 0.006}, {704, 256, 0.004}, {1024, 512, 0.0025}}) {
        const QuantizedTensor q = gaussian({.rows = rows,
                                            .cols = cols,
                                            .spread = spread_of(bits),
                                            .trellis = trellis,
                                            .segment_rows = rows});
        const double n = static_cast<double>(rows) * cols;
        const double above =
            bits_of(q, Coder::kPooled).coded / n - pooled_entropy(q.codes, trellis > 0);
        EXPECT_LT(above, most + (trellis > 0 ? 0.001 : 0)) << rows << "x" << cols << " at " << bits;
        EXPECT_LE(bits_of(q).coded, bits_of(q, Coder::kPooled).coded + 0.0003 * n);
      }
    }
  }
  EXPECT_EQ(pooled_entropy(Matrix<int32_t>()), 0);
  const QuantizedTensor q = gaussian({.rows = 256, .cols = 256, .spread = spread_of(8)});
  EXPECT_LT(bits_of(q).coded / 65536 - pooled_entropy(q.codes), 0.015);
}

// Columns of very different spread, each as if its own code were known.
TEST(Size, ClassesCloseToEachColumnsOwnCode) {
  for (const int trellis : {0, 8}) {
    for (const int bits : {1, 2, 3, 4}) {
      for (const double octaves : {0.3, 1.0}) {
        const QuantizedTensor q = gaussian({.rows = 1024,
                                            .cols = 512,
                                            .spread = spread_of(bits),
                                            .column_octaves = octaves,
                                            .trellis = trellis,
                                            .segment_rows = 1024});
        const double n = 1024 * 512;
        EXPECT_LT(bits_of(q).coded / n - ideal_bits(q) / n, 0.010) << bits << " " << octaves;
      }
    }
  }
}

// Rows that differ, too: naming a class takes some four bits, and a row has but 512 integers.
TEST(Size, RowClassesCloseToTheTrueCode) {
  for (const int trellis : {0, 8}) {
    for (const int bits : {1, 2, 3, 4}) {
      const Sample sample{.rows = 1024,
                          .cols = 512,
                          .spread = spread_of(bits),
                          .column_octaves = 0.5,
                          .row_octaves = 0.5,
                          .trellis = trellis,
                          .segment_rows = 1024};
      const QuantizedTensor q = gaussian(sample);
      const double n = 1024 * 512;
      EXPECT_LT(bits_of(q).coded / n - true_bits(sample, q) / n, 0.015) << bits;
    }
  }
}

// Of so many integers that spreads are told by some of the rows. One column holds zeros in these,
// and another value between them.
TEST(Size, ATallMatrixCloseToTheTrueCode) {
  for (const double row_octaves : {0.0, 0.5}) {
    const Sample sample{.rows = 42000,
                        .cols = 200,
                        .spread = spread_of(3),
                        .column_octaves = 0.5,
                        .row_octaves = row_octaves};
    QuantizedTensor q = gaussian(sample);
    const double n = 42000 * 200;
    EXPECT_LT(bits_of(q).coded / n - true_bits(sample, q) / n, row_octaves > 0 ? 0.022 : 0.0035);
    for (int64_t r = 0; r < q.rows; ++r) q.codes(r, 7) = 0;
    q.codes(3, 7) = 2;
    ThreadPool pool(1);
    const QuantizedTensor back = decode_tensor(encode_tensor(q, pool), pool, "test");
    EXPECT_TRUE(std::ranges::equal(back.codes.values(), q.codes.values()));
  }
}

// The side information of a large layer, with scales of five bits of mantissa, and of ten.
TEST(Size, LargeLayer) {
  QuantizedTensor q =
      gaussian({.rows = 4096, .cols = 4096, .spread = spread_of(2), .column_octaves = 0.5});
  Rng rng(1);
  for (const int zeros : {5, 0}) {
    q.row_scale = q.column_scale = {};
    for (int i = 0; i < 4096; ++i) {
      const auto scale = [&](double octaves) {
        const auto h = half_from_float(static_cast<float>(std::exp2(octaves * rng.normal())));
        return static_cast<uint16_t>(h >> zeros << zeros);
      };
      q.row_scale.half.push_back(scale(0.05));
      q.column_scale.half.push_back(scale(1));
    }
    EXPECT_LT(bits_of(q).side / (4096 * 4096), zeros > 0 ? 0.0026 : 0.006);
  }
}

TEST(Size, Estimate) {
  ThreadPool pool(1);
  for (const int trellis : {0, 8}) {
    for (const int bits : {1, 2, 4}) {
      for (const auto& [columns, row_octaves] : {std::pair{0.0, 0.0}, {0.7, 0.0}, {0.7, 0.7}}) {
        const QuantizedTensor q = gaussian({.rows = 1536,
                                            .cols = 400,
                                            .spread = spread_of(bits),
                                            .column_octaves = columns,
                                            .row_octaves = row_octaves,
                                            .trellis = trellis,
                                            .segment_rows = 1536});
        const double coded = bits_of(q).coded / static_cast<double>(q.codes.size());
        EXPECT_NEAR(class_entropy(q.codes, trellis > 0, pool), coded, 0.005);
        // Some of the rows tell of all; how the rows happen to differ is another matter.
        Matrix<int32_t> some(384, 400);
        for (int64_t r = 0; r < 384; ++r)
          std::ranges::copy(q.codes.row(4 * r), some.row(r).begin());
        EXPECT_NEAR(class_entropy(some, trellis > 0, pool, 1536), coded,
                    row_octaves > 0 ? 0.1 : 0.01);
      }
    }
  }
  EXPECT_EQ(class_entropy(Matrix<int32_t>(4, 0), false, pool), 0);
}

// Scales of a few bits of mantissa, and no more of them than they hold.
TEST(Size, Scales) {
  QuantizedTensor q = gaussian({.rows = 512, .cols = 512});
  Rng rng(1);
  for (int i = 0; i < 512; ++i) {
    const auto rounded = [](double v) {
      return static_cast<uint16_t>((half_from_float(static_cast<float>(v)) + 16) & ~31);
    };
    q.row_scale.half.push_back(rounded(std::exp2(0.05 * rng.normal())));
    q.column_scale.half.push_back(rounded(std::exp2(0.7 * rng.normal())));
  }
  // In steps of 2^-5 of an octave: spreads of 1.6 (2.7 bits) and 22 (6.5 bits).
  EXPECT_LT(bits_of(q).side, 512 * (3.0 + 6.8));
}

}  // namespace
}  // namespace watersic
