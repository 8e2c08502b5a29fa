// Integers through bytes and back; what it costs; what happens to damaged bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "watersic/error.h"

namespace watersic {
namespace {

QuantizedTensor tensor_of(Matrix<int32_t> codes) {
  QuantizedTensor q;
  q.rows = codes.rows();
  q.cols = codes.cols();
  q.codes = std::move(codes);
  return q;
}

QuantizedTensor gaussian(int64_t rows, int64_t cols, double spread, uint64_t seed = 1) {
  Matrix<int32_t> codes(rows, cols);
  Rng rng(seed);
  for (int32_t& v : codes.values()) v = static_cast<int32_t>(std::lround(spread * rng.normal()));
  return tensor_of(std::move(codes));
}

// The spread at which rounded Gaussians have about `bits` of entropy.
double spread_of(double bits) {
  return bits == 1 ? 0.42 : std::exp2(bits) / std::sqrt(2 * M_PI * M_E);
}

void expect_equal(const Scales& a, const Scales& b) {
  EXPECT_EQ(a.half, b.half);
  if (!a.half.empty()) {
    EXPECT_EQ(a.exponent, b.exponent);
  }
}

void expect_equal(const QuantizedTensor& a, const QuantizedTensor& b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.cols, b.cols);
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
  for (const int32_t value : {0, 7, -3, INT32_MAX, INT32_MIN}) {
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

// Columns of different spread: a table for each kind of column must pay.
TEST(Coding, TablesByColumn) {
  QuantizedTensor q = gaussian(400, 96, 1.0);
  CodingPlan plan;
  plan.tables = 3;
  const int32_t factors[] = {1, 4, 100};
  for (int64_t j = 0; j < 96; ++j) {
    plan.table_of.push_back(static_cast<int32_t>(j * 7 % 3));
    Rng rng(static_cast<uint64_t>(j));
    for (int64_t i = 0; i < 400; ++i)
      q.codes(i, j) =
          static_cast<int32_t>(std::lround(factors[plan.table_of.back()] * rng.normal()));
  }
  q.codes(17, 40) = -123456789;  // an escape in one table of three
  const double with = tensor_bits(round_trip(q, plan), "test").coded;
  const double without = coded_bits(q);
  EXPECT_LT(with, 0.85 * without);
  plan.tables = 64;  // most of them without a column
  round_trip(q, plan);
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
  EXPECT_EQ(std::vector<float>(G.values().begin(), G.values().end()),
            (std::vector<float>{6, 0, -2, 8, 0, 20}));
}

TEST(Coding, SameBytesAtAnyNumberOfThreads) {
  const QuantizedTensor q = gaussian(3000, 1500, 1.2);
  ThreadPool one(1), two(2), three(3);
  const auto blob = encode_tensor(q, one);
  EXPECT_GT(summarize_tensor(blob, "test").tiles, 3);
  EXPECT_TRUE(blob == encode_tensor(q, two));
  EXPECT_TRUE(blob == encode_tensor(q, three));
  expect_equal(q, decode_tensor(blob, three, "test"));
}

// The price of real bits: states, tables, precision, all of it.
TEST(Coding, SizeCloseToEntropy) {
  for (const int bits : {1, 2, 3, 4}) {
    for (const auto& [rows, cols, most] :
         {std::tuple{256, 256, 0.006}, {704, 256, 0.004}, {1024, 512, 0.0025}}) {
      const QuantizedTensor q = gaussian(rows, cols, spread_of(bits), static_cast<uint64_t>(bits));
      const double n = static_cast<double>(rows) * cols;
      const double coded = coded_bits(q);
      EXPECT_LT(coded / n - pooled_entropy(q.codes), most) << rows << "x" << cols << " at " << bits;
      EXPECT_NEAR(estimate_coded_bits(q.codes), coded, 0.0005 * coded) << bits;
    }
  }
  EXPECT_EQ(pooled_entropy(Matrix<int32_t>()), 0);
  EXPECT_EQ(estimate_coded_bits(Matrix<int32_t>(4, 0)), 0);
  const QuantizedTensor q = gaussian(256, 256, spread_of(8));
  EXPECT_LT(coded_bits(q) / 65536 - pooled_entropy(q.codes), 0.015);
}

// Whatever the bytes say: an Error, or a tensor of bounded size.
TEST(Coding, DamagedBytes) {
  QuantizedTensor q = gaussian(24, 20, 1.0);
  q.codes(3, 3) = 12345;
  q.cols = 22;
  q.dead = {2, 9};
  q.row_scale = {.exponent = 0, .half = std::vector<uint16_t>(24, 0x3C00)};
  q.column_scale = {.exponent = -4, .half = std::vector<uint16_t>(20, 0x3555)};
  CodingPlan plan;
  plan.lanes = 4;
  plan.segment_rows = 12;
  plan.tables = 2;
  for (int i = 0; i < 20; ++i) plan.table_of.push_back(i & 1);
  ThreadPool pool(1);
  const auto blob = encode_tensor(q, plan, pool);
  // Where the tiles begin: after the last scale.
  std::vector<std::byte> pattern;
  for (int i = 0; i < 20; ++i) pattern.insert(pattern.end(), {std::byte{0x55}, std::byte{0x35}});
  const auto scales = std::ranges::search(blob, pattern);
  ASSERT_FALSE(scales.empty());
  const auto tiles = static_cast<size_t>(scales.end() - blob.begin());
  int errors = 0, changed = 0;
  for (size_t i = 0; i < blob.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xFF, 0x10}) {
      auto bad = blob;
      bad[i] ^= static_cast<std::byte>(mask);
      try {
        const QuantizedTensor d = decode_tensor(bad, pool, "layer");
        EXPECT_EQ(d.codes.size(), d.rows * d.live());
        EXPECT_LE(d.codes.size(), static_cast<int64_t>(blob.size()) << 20);
        changed += i >= tiles ? 1 : 0;
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("layer"), std::string::npos);
        errors += i >= tiles ? 1 : 0;
      }
    }
  }
  // Changed scales can't be seen here (the container's checksums see them); a changed stream is, in
  // the lanes' last states; the value of an escape is not.
  EXPECT_GT(errors, 400);
  EXPECT_LE(changed, errors / 30);
  for (size_t n = 0; n < blob.size(); ++n)
    EXPECT_THROW(decode_tensor(std::span(blob).first(n), pool, "layer"), Error) << n;
  auto longer = blob;
  longer.resize(blob.size() + 2);
  EXPECT_THROW(decode_tensor(longer, pool, "layer"), Error);
}

TEST(Coding, NoiseIsNoTensor) {
  Rng rng(5);
  ThreadPool pool(1);
  int decoded = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::byte> noise(rng.below(200) * 2);
    for (std::byte& b : noise) b = static_cast<std::byte>(rng.bits() & 0xFF);
    if (!noise.empty()) noise[0] = std::byte{1};  // the version, to get past it
    try {
      decode_tensor(noise, pool, "noise");
      ++decoded;
    } catch (const Error&) {
    }
  }
  EXPECT_LT(decoded, 10);
}

}  // namespace
}  // namespace watersic
