// Layers from coded tensors of every kind: what they multiply by is what the tensors say.
#include "runtime/layers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "base/rng.h"
#include "coding/enc_tensor.h"
#include "support/bitshift_samples.h"
#include "support/packed_samples.h"
#include "support/sample_tensors.h"

namespace watersic {
namespace {

Scales random_scales(int64_t count, uint64_t seed) {
  Rng rng(seed);
  Scales out{.exponent = -4, .half = {}};
  for (int64_t i = 0; i < count; ++i)
    out.half.push_back(half_from_float(static_cast<float>(1 + rng.uniform())));
  return out;
}

struct Kind {
  const char* name;
  QuantizedTensor tensor;
};

// Scalar and trellis; a tail of rows that no segment of 64 divides; strands, a rotation, dead
// columns, groups of scales in any order, one scale for all.
std::vector<Kind> kinds() {
  std::vector<Kind> kinds;
  const auto add = [&](const char* name, QuantizedTensor q) -> QuantizedTensor& {
    q.row_scale = random_scales(q.rows, 1);
    q.column_scale = random_scales(q.live(), 2);
    kinds.push_back({name, std::move(q)});
    return kinds.back().tensor;
  };
  const Sample wide{.rows = 200, .cols = 90, .spread = 1.5, .column_octaves = 2, .row_octaves = 1};
  add("scalar", gaussian(wide));
  Sample trellis = wide;
  trellis.trellis = 64;
  trellis.segment_rows = 75;
  add("trellis", gaussian(trellis));
  add("strands", gaussian(trellis)).strands = 4;
  add("rotation", gaussian(wide)).rotation = 77;
  QuantizedTensor& dead = add("dead columns", gaussian(wide));
  dead.cols += 3;
  dead.dead = {0, 40, 92};
  QuantizedTensor& groups = add("groups", gaussian(wide));
  groups.groups = 3;
  for (int32_t i = 0; i < 90; ++i) groups.column_group.push_back(i * 7 % 3);
  groups.row_scale = groups.column_scale = {};
  groups.group_scale = random_scales(200 * 3, 3);
  QuantizedTensor& plain = add("one scale", gaussian(65, 31, 3));
  plain.row_scale = {};
  plain.column_scale = {.exponent = -3, .half = {half_from_float(1.5F)}};
  add("one row", gaussian(1, 9, 2));
  add("nothing but zeros", gaussian(66, 5, 0.01));
  QuantizedTensor& huge = add("huge integers", gaussian(130, 20, 1));
  huge.codes(3, 4) = 1 << 20;
  huge.codes(129, 19) = -(1 << 20);
  for (int64_t r = 0; r < 130; ++r) huge.codes(r, 7) = static_cast<int32_t>(1000 * (r - 60));
  return kinds;
}

// The layer's rows are V's, its outputs those of V and a bias of 0.5, nearly.
void expect_layer(const LinearLayer& layer, const Matrix<float>& V, const Matrix<float>& X,
                  double relative) {
  ThreadPool pool(3);
  ASSERT_EQ(layer.outputs(), V.rows());
  ASSERT_EQ(layer.inputs(), V.cols());
  std::vector<int32_t> ids;
  for (int32_t r = 0; r < V.rows(); ++r) ids.push_back(r);
  EXPECT_TRUE(std::ranges::equal(layer.rows(pool, ids).values(), V.values()));

  Matrix<float> Y(X.rows(), V.rows());
  layer.apply(pool, X.rows(), X, 0, Y);
  double error = 0, energy = 0;
  for (int64_t t = 0; t < X.rows(); ++t) {
    for (int64_t r = 0; r < V.rows(); ++r) {
      double sum = 0.5;
      for (int64_t j = 0; j < V.cols(); ++j) sum += double{V(r, j)} * double{X(t, j)};
      error += std::pow(Y(t, r) - sum, 2);
      energy += std::pow(sum - 0.5, 2);
    }
  }
  EXPECT_LE(std::sqrt(error), relative * std::sqrt(energy) + 1e-6);
}

TEST(PackedLayer, HoldsWhatEveryKindOfTensorSays) {
  ThreadPool pool(3);
  for (const auto& [name, tensor] : kinds()) {
    SCOPED_TRACE(name);
    const auto blob = encode_tensor(tensor, pool);
    const Matrix<float> V = dequantize(tensor);
    const std::vector<float> bias(static_cast<size_t>(V.rows()), 0.5F);
    const Matrix<float> X = normal_matrix(3, V.cols(), 4);
    for (const auto precision : {InputPrecision::kFloat, InputPrecision::kInt8}) {
      const PackedLayer layer(pool, TensorDecoder(blob, name), bias, precision);
      expect_layer(layer, V, X, precision == InputPrecision::kFloat ? 1e-5 : 0.02);
    }
  }
}

// As a QuantizedTensor of its integers would be, which dequantize knows.
TEST(BitshiftLayer, HoldsWhatATensorSays) {
  ThreadPool pool(3);
  const BitshiftShape shape{.rows = 200,
                            .columns = 93,
                            .segment_rows = 128,
                            .levels = {8, 20, 5},
                            .offsets = {0, 2, -1},
                            .far_out = 0.01,
                            .dead = {0, 40, 92}};
  const BitshiftSample sample = bitshift_sample(shape);
  QuantizedTensor q{.rows = shape.rows, .cols = shape.columns, .dead = shape.dead};
  q.codes = Matrix<int32_t>(q.rows, q.live());
  for (int64_t t = 0; t < bitshift_tiles(q.rows); ++t) {
    const int64_t first = t * kBitshiftRows;
    read_tile(sample.stream, sample.payload, t,
              q.codes.view().block(first, 0, std::min(kBitshiftRows, q.rows - first), q.live()));
  }
  q.row_scale = random_scales(q.rows, 1);
  q.column_scale = random_scales(q.live(), 2);
  const std::vector<float> bias(static_cast<size_t>(q.rows), 0.5F);
  const Matrix<float> X = normal_matrix(3, q.cols, 4);
  for (const uint32_t rotation : {0U, 77U}) {
    for (const int64_t strands : {1, 4}) {
      q.rotation = rotation;
      q.strands = strands;
      const Matrix<float> V = dequantize(q);
      for (const auto precision : {InputPrecision::kFloat, InputPrecision::kInt8}) {
        const BitshiftLayer layer(bitshift_matrix(q, sample.stream, sample.payload), rotation, bias,
                                  precision);
        EXPECT_EQ(layer.outputs(), q.rows);
        EXPECT_GE(layer.bytes(), static_cast<int64_t>(sample.payload.size()));
        expect_layer(layer, V, X, precision == InputPrecision::kFloat ? 1e-5 : 1e-3);
      }
    }
  }
}

TEST(PackedLayer, TakesAFractionOfTheMemory) {
  ThreadPool pool(1);
  constexpr int64_t kRows = 1024, kCols = 512;
  QuantizedTensor q =
      gaussian({.rows = kRows, .cols = kCols, .spread = 1, .trellis = 64, .segment_rows = kRows});
  q.row_scale = random_scales(kRows, 1);
  q.column_scale = random_scales(kCols, 2);
  const auto blob = encode_tensor(q, pool);
  const PackedLayer layer(pool, TensorDecoder(blob, "q"), {}, InputPrecision::kInt8);
  // Four bits for nearly all integers, and what rows and columns cost.
  EXPECT_LT(8.0 * static_cast<double>(layer.bytes()) / (kRows * kCols), 4.5);
}

TEST(HalfLayer, ManyTokensAsDenseFewNearly) {
  ThreadPool pool(2);
  Matrix<float> W = normal_matrix(70, 33, 1);
  for (float& w : W.values()) w = float_from_half(half_from_float(w));
  const std::vector<float> bias(70, 0.25F);
  const DenseLayer dense(W, bias);
  const HalfLayer half(HalfKind::kHalf, W, bias);
  EXPECT_EQ(half.bytes(), 70 * 33 * 2 + 70 * 4);
  for (const int64_t tokens : {1, 3, 4, 20}) {
    const Matrix<float> X = normal_matrix(tokens, 33, 2);
    Matrix<float> expected = normal_matrix(tokens, 70, 3), found = expected;
    dense.apply(pool, tokens, X, 1, expected);
    half.apply(pool, tokens, X, 1, found);
    for (size_t i = 0; i < found.values().size(); ++i) {
      if (tokens >= 4) {
        EXPECT_EQ(found.values()[i], expected.values()[i]) << tokens;
      } else {
        EXPECT_NEAR(found.values()[i], expected.values()[i], 1e-4) << tokens;
      }
    }
  }
  EXPECT_EQ(half.independent_tokens(), 3);
  EXPECT_EQ(half.rows(pool, std::vector<int32_t>{69, 0}).row(0)[5], W(69, 5));
}

TEST(TurnedEmbedding, TokensAreIndependent) {
  ThreadPool pool(2);
  const QuantizedTensor E = gaussian(100, 40, 1);
  const auto blob = encode_tensor(E, pool);
  const auto packed = std::make_shared<PackedLayer>(pool, TensorDecoder(blob, "E"),
                                                    std::vector<float>(), InputPrecision::kInt8);
  const TurnedEmbedding turned(packed, normal_matrix(40, 40, 2), std::vector<float>(40, 1.5F),
                               false);
  EXPECT_EQ(turned.independent_tokens(), kAnyNumber);
  const Matrix<float> X = normal_matrix(9, 40, 3);
  Matrix<float> together(9, 100), alone(1, 100);
  turned.apply(pool, 9, X, 0, together);
  const Matrix<float> rows = turned.rows(pool, std::vector<int32_t>{5, 99, 0, 7, 7});
  for (int64_t i = 0; i < 9; ++i) {
    turned.apply(pool, 1, X.view().block(i, 0, 1, 40), 0, alone);
    EXPECT_TRUE(std::ranges::equal(alone.row(0), together.row(i))) << i;
  }
  EXPECT_TRUE(std::ranges::equal(turned.rows(pool, std::vector<int32_t>{99}).row(0), rows.row(1)));
  const TurnedEmbedding exact(packed, normal_matrix(40, 40, 2), std::vector<float>(40, 1.5F), true);
  EXPECT_EQ(exact.independent_tokens(), 1);
}

}  // namespace
}  // namespace watersic
