#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/bitshift_inputs.h"
#include "kernels/bitshift_multiply.h"
#include "kernels/bitshift_product.h"
#include "support/bitshift_samples.h"
#include "support/packed_samples.h"
#include "support/targets.h"

namespace watersic {
namespace {

std::vector<int32_t> all_rates() {
  std::vector<int32_t> rates(static_cast<size_t>(kMostStageRate));
  std::iota(rates.begin(), rates.end(), 1);
  return rates;
}

// Every rate; tiles that have none of some columns; blocks of one column, of an odd number, and
// several of a run; short tiles; segments of one tile and of more; stages, memories, exceptions,
// strands, dead columns.
std::vector<BitshiftShape> bitshift_shapes() {
  std::vector<BitshiftShape> shapes{
      {.rows = 1, .columns = 1},
      {.rows = 1, .columns = 7, .levels = {16, 3}, .memory = 8},
      {.rows = 64, .columns = 200, .levels = {8}, .memory = 12},
      {.rows = 63, .columns = 129, .levels = {7, 9}, .memory = 16},
      {.rows = 200,
       .columns = 90,
       .segment_rows = 128,
       .levels = {40, 8, -3, 20, 1},
       .offsets = {0, 4, -2, 1},
       .far_out = 0.02,
       .dead = {0, 41, 89}},
      {.rows = 196,
       .columns = 33,
       .segment_rows = 192,
       .levels = {33, 17, 2},
       .offsets = {-20, 3, 0, -2},
       .memory = 13,
       .far_out = 0.01,
       .strands = 4},
      {.rows = 65, .columns = 5, .levels = {-4}},
  };
  for (const int memory : {8, 12, 16}) {
    // Beside its neighbours above, below, and none.
    shapes.push_back({.rows = 200,
                      .columns = 50,
                      .segment_rows = 256,
                      .levels = all_rates(),
                      .offsets = {0, 1, -3, 2},
                      .memory = memory});
    shapes.push_back({.rows = 130,
                      .columns = 16,
                      .segment_rows = 192,
                      .levels = all_rates(),
                      .offsets = {-8, 0, -16},
                      .memory = memory});
  }
  return shapes;
}

template <class Body>
void for_each_shape(const Body& body) {
  for (const BitshiftShape& shape : bitshift_shapes()) {
    SCOPED_TRACE(std::to_string(shape.rows) + " x " + std::to_string(shape.columns) + ", memory " +
                 std::to_string(shape.memory) + ", level " + std::to_string(shape.levels[0]));
    const BitshiftSample sample = bitshift_sample(shape);
    body(shape, sample, sample.matrix(shape));
  }
}

TEST(BitshiftMatrix, RowsAreWhatTheLayoutSays) {
  for_each_shape(
      [](const BitshiftShape& shape, const BitshiftSample& sample, const BitshiftMatrix& M) {
        const Matrix<float> V = bitshift_values(shape, sample);
        std::vector<float> row(static_cast<size_t>(shape.columns));
        for (int64_t r = 0; r < shape.rows; ++r) {
          bitshift_row(M, r, row);
          ASSERT_TRUE(std::ranges::equal(row, V.row(r))) << r;
        }
      });
}

TEST(BitshiftMatrix, EveryTargetGivesTheReferencesBits) {
  for_each_shape([](const BitshiftShape& shape, const BitshiftSample& /*sample*/,
                    const BitshiftMatrix& M) {
    constexpr int64_t kTokens = 9;
    const Matrix<float> X = normal_matrix(kTokens, shape.columns, 3);
    const auto quantized = [&] {
      QuantizedInputs x(M, kTokens);
      for (int64_t t = 0; t < kTokens; ++t) quantize_inputs(M, X.row(t), t, x);
      return x;
    };
    hwy::SetSupportedTargetsForTest(HWY_EMU128);
    const QuantizedInputs expected_inputs = quantized();
    for_each_target([&] {
      const QuantizedInputs x = quantized();
      EXPECT_EQ(x.q, expected_inputs.q);
      EXPECT_TRUE(std::ranges::equal(x.scale.values(), expected_inputs.scale.values()));
      EXPECT_TRUE(std::ranges::equal(x.offset.values(), expected_inputs.offset.values()));
      for (int64_t tile = 0; tile < M.tiles(); ++tile) {
        for (const int64_t tokens : {1, 2, 5, 9}) {
          std::vector<float> found(static_cast<size_t>(tokens * kTileRows), -1), expected = found;
          bitshift_product(M, tile, x, kTokens - tokens, tokens, found.data());
          bitshift_product_scalar(M, tile, x, kTokens - tokens, tokens, expected.data());
          ASSERT_EQ(found, expected) << "tile " << tile << ", " << tokens << " tokens";
        }
      }
    });
  });
}

// The largest sums that there can be.
TEST(BitshiftMatrix, SumsKeepToTheirBits) {
  const BitshiftShape shape{.rows = 64, .columns = kBitshiftColumns, .levels = {16}};
  BitshiftSample sample = bitshift_sample(shape);
  // The state of the largest code, row after row.
  uint32_t best = 0;
  for (uint32_t s = 0; s < 0x10000; ++s)
    if (code_of(16, 16, s, 0) > code_of(16, 16, best, 0)) best = s;
  for (size_t i = 0; i < sample.payload.size(); i += 2) {
    sample.payload[i] = static_cast<uint8_t>(best);
    sample.payload[i + 1] = static_cast<uint8_t>(best >> 8);
  }
  const BitshiftMatrix M = sample.matrix(shape);
  Matrix<float> X(1, kBitshiftColumns);
  for (size_t j = 0; j < kBitshiftColumns; ++j) X.row(0)[j] = -1 / sample.column_scale[j];
  for_each_target([&] {
    QuantizedInputs x(M, 1);
    quantize_inputs(M, X.row(0), 0, x);
    std::vector<float> found(kTileRows), expected = found;
    bitshift_product(M, 0, x, 0, 1, found.data());
    bitshift_product_scalar(M, 0, x, 0, 1, expected.data());
    EXPECT_EQ(found, expected);
    EXPECT_LT(found[3], -stage_unit(0) * code_unit(16) * kBitshiftColumns * 225.0F);
  });
}

// Against float64. Inputs times columns' scales are off by `step` of the largest of them at most.
TEST(BitshiftMatrix, ProductsAreNearThoseOfTheMatrix) {
  ThreadPool pool(2);
  for_each_shape(
      [&](const BitshiftShape& shape, const BitshiftSample& sample, const BitshiftMatrix& M) {
        const Matrix<float> V = bitshift_values(shape, sample);
        const Matrix<float> X = normal_matrix(7, shape.columns, 5);
        const auto expect = [&](MatrixView<const float> Y, double step) {
          for (int64_t t = 0; t < X.rows(); ++t) {
            for (int64_t r = 0; r < V.rows(); ++r) {
              double sum = 0.25, energy = 0;
              for (int64_t j = 0; j < X.cols(); ++j) {
                const double product = double{V(r, j)} * double{X(t, j)};
                sum += product;
                energy += product * product;
              }
              ASSERT_NEAR(Y(t, r), sum, step * std::sqrt(energy) + 1e-3) << t << ", " << r;
            }
          }
        };
        const std::vector<float> bias(static_cast<size_t>(shape.rows), 0.25F);
        Matrix<float> Y(7, shape.rows);
        bitshift_multiply(pool, M, X, InputPrecision::kFloat, bias, 0, Y);
        expect(Y, 1e-5);
        for_each_target([&] {
          bitshift_multiply(pool, M, X, InputPrecision::kInt8, bias, 0, Y);
          expect(Y, 1e-3);
        });
      });
}

TEST(BitshiftMatrix, ATokenDependsOnNothingElse) {
  const BitshiftShape shape{.rows = 300,
                            .columns = 200,
                            .segment_rows = 128,
                            .levels = {8, 12, 5, 30},
                            .offsets = {0, -4, 2},
                            .far_out = 0.01};
  const BitshiftSample sample = bitshift_sample(shape);
  const BitshiftMatrix M = sample.matrix(shape);
  const Matrix<float> X = normal_matrix(71, 200, 6);
  const std::vector<float> bias(300, 0.25F);
  Matrix<float> all(71, 300), alone(1, 300);
  for_each_target([&] {
    for (const auto precision : {InputPrecision::kInt8, InputPrecision::kFloat}) {
      std::ranges::fill(all.values(), 2.0F);
      ThreadPool many(4), one(1);
      bitshift_multiply(many, M, X, precision, bias, 1, all);
      for (const int64_t t : {0, 1, 2, 3, 63, 64, 70}) {
        std::ranges::fill(alone.values(), 2.0F);
        bitshift_multiply(one, M, X.view().block(t, 0, 1, 200), precision, bias, 1, alone);
        EXPECT_TRUE(std::ranges::equal(alone.row(0), all.row(t))) << t;
      }
    }
  });
}

}  // namespace
}  // namespace watersic
