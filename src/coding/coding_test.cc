// Integers through bytes and back.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "coding/common_rans.h"
#include "coding/common_table.h"
#include "coding/dec_tensor.h"
#include "coding/enc_estimate.h"
#include "coding/enc_tensor.h"
#include "support/sample_tensors.h"
#include "watersic/error.h"

namespace watersic {
namespace {

void expect_equal(const Scales& a, const Scales& b) {
  EXPECT_EQ(a.half, b.half);
  if (!a.half.empty()) {
    EXPECT_EQ(a.exponent, b.exponent);
  }
}

void expect_equal(const QuantizedTensor& a, const QuantizedTensor& b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.cols, b.cols);
  EXPECT_EQ(a.trellis, b.trellis);
  EXPECT_EQ(a.segment_rows, b.segment_rows);
  EXPECT_EQ(a.strands, b.strands);
  EXPECT_EQ(a.dead, b.dead);
  EXPECT_EQ(a.groups, b.groups);
  EXPECT_EQ(a.column_group, b.column_group);
  expect_equal(a.row_scale, b.row_scale);
  expect_equal(a.column_scale, b.column_scale);
  expect_equal(a.group_scale, b.group_scale);
  ASSERT_EQ(a.codes.rows(), b.codes.rows());
  ASSERT_EQ(a.codes.cols(), b.codes.cols());
  ASSERT_TRUE(std::ranges::equal(a.codes.values(), b.codes.values()));
}

std::vector<std::byte> round_trip(const QuantizedTensor& q, const CodingPlan& plan = {}) {
  ThreadPool pool(1);
  std::vector<std::byte> blob = encode_tensor(q, plan, pool);
  // At an odd address and in the midst of other bytes: no alignment is needed, nothing else is read
  // (the sanitizer would see it at the end of the allocation).
  std::vector<std::byte> shifted(blob.size() + 1, std::byte{0xA5});
  std::ranges::copy(blob, shifted.begin() + 1);
  for (const DecoderKind kind : {DecoderKind::kBest, DecoderKind::kScalar})
    expect_equal(q, decode_tensor(std::span(shifted).subspan(1), pool, "test", kind));
  const TensorBits bits = tensor_bits(blob, "test");
  EXPECT_EQ(bits.total(), 8.0 * static_cast<double>(blob.size()));
  return blob;
}

double coded_bits(const QuantizedTensor& q) { return tensor_bits(round_trip(q), "test").coded; }

TEST(Coding, EmptyMatrices) {
  for (const auto& [rows, cols] : {std::pair{0, 0}, {0, 5}, {5, 0}})
    EXPECT_LE(round_trip(tensor_of(Matrix<int32_t>(rows, cols))).size(), 10U);
}

TEST(Coding, OneValueCostsNoMoreThanTheHead) {
  for (const int32_t value : {0, 7, -3, kMaxSymbolValue, kMinSymbolValue}) {
    Matrix<int32_t> codes(300, 200);
    std::ranges::fill(codes.values(), value);
    EXPECT_LE(round_trip(tensor_of(std::move(codes))).size(), 80U) << value;
  }
}

TEST(Coding, GaussiansOfEveryRateAndShape) {
  for (const double bits : {0.1, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0})
    round_trip(gaussian(70, 130, spread_of(bits)));
  for (const auto& [rows, cols] :
       {std::pair{1, 1}, {1, 1000}, {1000, 1}, {33, 31}, {257, 129}, {3, 2}, {5000, 7}, {7, 5000}})
    round_trip(gaussian(rows, cols, 1.5));
}

TEST(Coding, LaplaceSkewedAndSparse) {
  Rng rng(2);
  Matrix<int32_t> codes(200, 300);
  for (int32_t& v : codes.values())
    v = static_cast<int32_t>(
        std::lround(3 * std::log(rng.uniform() + 1e-12) * (rng.below(2) ? 1 : -1)));
  round_trip(tensor_of(codes));
  for (int32_t& v : codes.values()) v = rng.below(1000) == 0 ? 1 : 0;
  round_trip(tensor_of(codes));
  for (int32_t& v : codes.values()) v = static_cast<int32_t>(rng.below(40)) * 13 - 200;  // holes
  const double bits = coded_bits(tensor_of(codes)) / 60000;
  EXPECT_LT(bits, pooled_entropy(codes) + 0.02);
}

TEST(Coding, OutliersOfAnySize) {
  QuantizedTensor q = gaussian(128, 128, 1.0);
  q.codes(0, 0) = INT32_MAX;
  q.codes(5, 127) = INT32_MIN;
  q.codes(127, 127) = INT32_MAX - 1;
  q.codes(64, 3) = 100000;
  const double plain = coded_bits(gaussian(128, 128, 1.0));
  EXPECT_LT(coded_bits(q), plain + 500);

  Matrix<int32_t> extremes(9, 9);
  for (int64_t i = 0; i < 81; ++i)
    extremes.values()[static_cast<size_t>(i)] = i % 2 ? INT32_MAX : INT32_MIN;
  round_trip(tensor_of(extremes));
  Rng rng(3);
  Matrix<int32_t> noise(40, 50);
  for (int32_t& v : noise.values()) v = static_cast<int32_t>(static_cast<uint32_t>(rng.bits()));
  EXPECT_LT(coded_bits(tensor_of(noise)) / 2000, 45);
}

TEST(Coding, TilesLanesAndTablesOfEveryKind) {
  const QuantizedTensor q = gaussian(100, 77, 2.0);
  for (const int lanes : {1, 2, 8, 16, 32, 64}) {
    for (const auto& [rows, columns] :
         {std::pair{100, 77}, {30, 20}, {1, 77}, {100, 1}, {33, 64}}) {
      CodingPlan plan;
      plan.lanes = lanes;
      plan.segment_rows = rows;
      plan.group_columns = columns;
      const auto blob = round_trip(q, plan);
      EXPECT_EQ(summarize_tensor(blob, "test").lanes, lanes);
      EXPECT_EQ(summarize_tensor(blob, "test").segment_rows, rows);
    }
  }
}

// Everything that a tensor may be made of, at once.
TEST(Coding, TrellisClassesRowsAndOutliers) {
  struct Spreads {
    double all, columns, rows;
  };
  for (const int trellis : {0, 4, 8, 64, 256}) {
    for (const Spreads& spread : {Spreads{1, 0, 0}, {0.1, 1, 0}, {1, 1, 1}, {40, 0.5, 0.5}}) {
      QuantizedTensor q = gaussian({.rows = 200,
                                    .cols = 90,
                                    .spread = spread.all,
                                    .column_octaves = spread.columns,
                                    .row_octaves = spread.rows,
                                    .trellis = trellis,
                                    .segment_rows = 64});
      round_trip(q);
      CodingPlan plan;
      plan.coder = Coder::kPooled;
      round_trip(q, plan);
      q.codes(199, 3) += 4 * 1000000;  // the last of its column: any parity of k will do
      q.codes(199, 4) -= 4 * 100000001;
      round_trip(q);
    }
  }
}

TEST(Coding, ClassesPay) {
  const auto bits = [](const Sample& sample, Coder coder) {
    CodingPlan plan;
    plan.coder = coder;
    const auto blob = round_trip(gaussian(sample), plan);
    return summarize_tensor(blob, "test");
  };
  for (const int trellis : {0, 8}) {
    const Sample columns{
        .rows = 400, .cols = 96, .column_octaves = 1.0, .trellis = trellis, .segment_rows = 400};
    const auto with = bits(columns, Coder::kClasses), without = bits(columns, Coder::kPooled);
    EXPECT_LT(with.bits.coded, 0.92 * without.bits.coded);
    EXPECT_GT(with.classes, 4);
    EXPECT_FALSE(with.row_classes);
    EXPECT_EQ(without.classes, 1);
    Sample both = columns;
    both.row_octaves = 0.7;
    const auto rows = bits(both, Coder::kClasses);
    EXPECT_TRUE(rows.row_classes);
    EXPECT_LT(rows.bits.coded, 0.9 * bits(both, Coder::kPooled).bits.coded);
  }
  // Where all is alike, classes must not cost.
  const Sample alike{.rows = 256, .cols = 256};
  EXPECT_LE(bits(alike, Coder::kClasses).bits.coded, bits(alike, Coder::kPooled).bits.coded);
}

// Columns and rows of zeros have a class that costs nothing.
TEST(Coding, ZeroColumnsAndRows) {
  QuantizedTensor q = gaussian({.rows = 300, .cols = 200, .spread = 2, .row_octaves = 1.5});
  const double all = coded_bits(q);
  for (int64_t r = 0; r < 300; ++r) {
    for (int64_t i = 0; i < 200; ++i)
      if (i % 2 == 1 || r % 5 == 0) q.codes(r, i) = 0;
  }
  EXPECT_LT(coded_bits(q), 0.42 * all);
}

TEST(Coding, OnlyPathsOfTheTrellis) {
  QuantizedTensor q = gaussian({.rows = 50, .cols = 70, .trellis = 8, .segment_rows = 20});
  ThreadPool pool(1);
  q.codes(30, 69) += 1;
  EXPECT_THROW(encode_tensor(q, pool), Error);
  q.codes(30, 69) += 1;  // right for its state, but not for the next
  EXPECT_THROW(encode_tensor(q, pool), Error);
  q.codes(30, 69) -= 2;
  q.segment_rows = 0;
  EXPECT_THROW(encode_tensor(q, pool), Error);
  q.segment_rows = 20;
  q.trellis = 7;
  EXPECT_THROW(encode_tensor(q, pool), Error);
}

TEST(Coding, SideInformation) {
  QuantizedTensor q = gaussian(20, 12, 1.0);
  q.cols = 15;
  q.dead = {0, 7, 14};
  Rng rng(4);
  const auto fill = [&](Scales& s, int64_t n, int32_t exponent) {
    s.exponent = exponent;
    for (int64_t i = 0; i < n; ++i) s.half.push_back(static_cast<uint16_t>(rng.below(0x7C00)));
  };
  fill(q.row_scale, 20, -9);
  fill(q.column_scale, 12, 3);
  round_trip(q);
  q.column_scale.half.resize(1);
  round_trip(q);
  QuantizedTensor grouped = gaussian(20, 12, 1.0);
  grouped.groups = 3;
  grouped.column_group = {0, 0, 0, 1, 1, 2, 2, 2, 0, 0, 1, 2};
  fill(grouped.group_scale, 60, 0);
  round_trip(grouped);

  QuantizedTensor all_dead;
  all_dead.rows = 4;
  all_dead.cols = 2;
  all_dead.dead = {0, 1};
  all_dead.codes = Matrix<int32_t>(4, 0);
  round_trip(all_dead);

  q.column_scale = {.exponent = -3, .half = {}};
  for (int i = 0; i < 12; ++i)  // rounded, of both signs
    q.column_scale.half.push_back(
        static_cast<uint16_t>(0x3C00 + 64 * i + (i % 3 == 0 ? 0x8000 : 0)));
  round_trip(q);

  q.row_scale.half[3] = 0x7C00;
  ThreadPool pool(1);
  EXPECT_THROW(encode_tensor(q, pool), Error);
}

TEST(Coding, Dequantize) {
  QuantizedTensor q = tensor_of(Matrix<int32_t>(2, 2));
  q.codes(0, 0) = 3;
  q.codes(0, 1) = -2;
  q.codes(1, 0) = 1;
  q.codes(1, 1) = 5;
  q.cols = 3;
  q.dead = {1};
  q.row_scale = {.exponent = 1, .half = {0x3C00, 0x3800}};     // 2, 1
  q.column_scale = {.exponent = 0, .half = {0x3C00, 0x4000}};  // 1, 2
  const Matrix<float> V = dequantize(q);
  EXPECT_EQ(std::vector<float>(V.values().begin(), V.values().end()),
            (std::vector<float>{6, 0, -8, 1, 0, 10}));
  q.row_scale = q.column_scale = {};
  q.groups = 2;
  q.column_group = {1, 0};
  q.group_scale = {.exponent = 0, .half = {0x3C00, 0x4000, 0x4400, 0x4800}};  // 1 2 / 4 8
  const Matrix<float> G = dequantize(q);
  q.trellis = 8;
  const Matrix<float> half = dequantize(q);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(half.values()[i], G.values()[i] / 2);
  EXPECT_EQ(std::vector<float>(G.values().begin(), G.values().end()),
            (std::vector<float>{6, 0, -2, 8, 0, 20}));
}

// Rows 0, 3, 6, 9, then 1, 4, ...: of three codes rows of the one that is a part's first, and so
// on.
TEST(Coding, StrandsAreRowsOfEqualPartsInTurn) {
  QuantizedTensor q = gaussian(12, 5, 1.5);
  q.row_scale = {.exponent = 0, .half = {}};
  for (int k = 0; k < 12; ++k)
    q.row_scale.half.push_back(half_from_float(1.0F + 0.125F * static_cast<float>(k)));
  const Matrix<float> plain = dequantize(q);
  q.strands = 3;  // parts of four rows
  round_trip(q);
  const Matrix<float> V = dequantize(q);
  for (int64_t part = 0; part < 3; ++part)
    for (int64_t i = 0; i < 4; ++i)
      EXPECT_TRUE(std::ranges::equal(V.row(part * 4 + i), plain.row(i * 3 + part)));

  ThreadPool pool(1);
  std::vector<std::byte> old = encode_tensor(gaussian(12, 5, 1.5), pool);
  old[0] = std::byte{kTensorVersion + 1};
  EXPECT_THROW(decode_tensor(old, pool, "test"), Error);
}

// In any order, from several threads, into buffers of a tile each.
TEST(Coding, TileByTile) {
  QuantizedTensor q = gaussian({.rows = 100,
                                .cols = 77,
                                .column_octaves = 1,
                                .row_octaves = 1,
                                .trellis = 8,
                                .segment_rows = 30});
  q.cols = 79;
  q.dead = {0, 50};
  q.codes(99, 76) += 123456;  // an escape
  q.row_scale = {.exponent = 2, .half = std::vector<uint16_t>(100, 0x3C00)};
  CodingPlan plan;
  plan.lanes = 8;
  plan.segment_rows = 30;
  plan.group_columns = 20;
  ThreadPool pool(3);
  const auto blob = encode_tensor(q, plan, pool);
  const TensorDecoder decoder(blob, "test");
  ASSERT_EQ(decoder.grid().tiles(), 16);
  QuantizedTensor found = decoder.tensor();
  EXPECT_TRUE(found.codes.empty());
  found.codes = Matrix<int32_t>(q.rows, q.live());
  pool.parallel_for(16, [&](int64_t i) {
    const TileGrid::Tile tile = decoder.grid().tile(15 - i);
    Matrix<int32_t> codes(tile.rows, tile.columns);
    decoder.decode(15 - i, codes);
    for (int64_t r = 0; r < tile.rows; ++r)
      std::ranges::copy(codes.row(r), &found.codes(tile.row + r, tile.column));
  });
  expect_equal(q, found);

  Matrix<int32_t> none(4, 0);
  EXPECT_EQ(TensorDecoder(encode_tensor(tensor_of(none), pool), "test").grid().tiles(), 0);
}

TEST(Coding, SameBytesAtAnyNumberOfThreads) {
  for (const int trellis : {0, 16}) {
    const QuantizedTensor q = gaussian({.rows = 3000,
                                        .cols = 1500,
                                        .spread = 1.2,
                                        .column_octaves = 0.5,
                                        .row_octaves = 0.5,
                                        .trellis = trellis,
                                        .segment_rows = 1000});
    ThreadPool one(1), two(2), three(3);
    const auto blob = encode_tensor(q, one);
    EXPECT_GT(summarize_tensor(blob, "test").tiles, 3);
    EXPECT_TRUE(blob == encode_tensor(q, two));
    EXPECT_TRUE(blob == encode_tensor(q, three));
    expect_equal(q, decode_tensor(blob, three, "test"));
    EXPECT_EQ(class_entropy(q.codes, trellis > 0, one), class_entropy(q.codes, trellis > 0, three));
  }
}

}  // namespace
}  // namespace watersic
