#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/packed_inputs.h"
#include "kernels/packed_layout.h"
#include "kernels/packed_multiply.h"
#include "kernels/packed_product.h"
#include "support/packed_samples.h"
#include "support/targets.h"

namespace watersic {
namespace {

struct Shape {
  int64_t rows, columns;
  std::vector<double> spreads;
  int64_t groups = 0;
};

// One row, odd columns, widths from none to many digits, groups of scales.
std::vector<Shape> shapes() {
  return {{1, 1, {1}},
          {1, 7, {0.3, 3}},
          {64, 4, {2}},
          {63, 130, {2}},
          {65, 66, {0, 0.2, 1, 2, 5}},
          {100, 33, {30, 1, 200, 3000, 0.5}},
          {257, 300, {0.4, 1.9, 8, 16, 40, 100}},
          {128, 96, {2, 1}, 3},
          {70, 50, {1, 4, 20}, 50},
          {5, 12, {0}}};
}

std::string name_of(const Shape& shape) {
  return std::to_string(shape.rows) + " x " + std::to_string(shape.columns) + ", " +
         std::to_string(shape.groups) + " groups";
}

TEST(Packed, RowsAreWhatTheIntegersSay) {
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(name_of(shape));
    const PackedSample sample =
        packed_sample(shape.rows, shape.columns, shape.spreads, shape.groups);
    std::vector<float> row(static_cast<size_t>(shape.columns));
    for (int64_t r = 0; r < shape.rows; ++r) {
      packed_row(sample.packed, r, row);
      EXPECT_TRUE(std::ranges::equal(row, sample.V.row(r))) << r;
    }
  }
}

TEST(Packed, EveryTargetGivesTheReferencesBits) {
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(name_of(shape));
    const PackedSample sample =
        packed_sample(shape.rows, shape.columns, shape.spreads, shape.groups);
    const PackedMatrix& M = sample.packed;
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
        for (int64_t tokens = 1; tokens <= kTokens; ++tokens) {
          std::vector<float> found(static_cast<size_t>(tokens * kTileRows), -1), expected = found;
          packed_product(M, tile, x, kTokens - tokens, tokens, found.data());
          packed_product_scalar(M, tile, x, kTokens - tokens, tokens, expected.data());
          EXPECT_EQ(found, expected) << "tile " << tile << ", " << tokens << " tokens";
        }
      }
    });
  }
}

// Against float64. Inputs times columns' scales are off by `step` of the largest of them at most.
void expect_product(const PackedSample& sample, MatrixView<const float> X,
                    MatrixView<const float> Y, double step) {
  const auto scale = [&](int64_t j) {
    return double{sample.packed.column_scale[static_cast<size_t>(j)]};
  };
  for (int64_t t = 0; t < X.rows(); ++t) {
    double largest = 0;
    for (int64_t j = 0; j < X.cols(); ++j)
      largest = std::max(largest, std::abs(scale(j) * double{X(t, j)}));
    for (int64_t r = 0; r < sample.V.rows(); ++r) {
      double sum = 0, weights = 0;
      for (int64_t j = 0; j < X.cols(); ++j) {
        sum += double{sample.V(r, j)} * double{X(t, j)};
        weights += std::abs(double{sample.V(r, j)}) / scale(j);
      }
      ASSERT_NEAR(Y(t, r), sum, step * weights * largest + 1e-6) << "token " << t << ", " << r;
    }
  }
}

TEST(Packed, ProductsAreNearThoseOfTheMatrix) {
  ThreadPool pool(2);
  for (const Shape& shape : shapes()) {
    SCOPED_TRACE(name_of(shape));
    const PackedSample sample =
        packed_sample(shape.rows, shape.columns, shape.spreads, shape.groups);
    const Matrix<float> X = normal_matrix(7, shape.columns, 5);
    Matrix<float> Y(7, shape.rows);
    for_each_target([&] {
      packed_multiply(pool, sample.packed, X, InputPrecision::kFloat, {}, 0, Y);
      expect_product(sample, X, Y, 1e-6);
      packed_multiply(pool, sample.packed, X, InputPrecision::kInt8, {}, 0, Y);
      expect_product(sample, X, Y, 1.01 / 254);
    });
  }
}

TEST(Packed, ATokenDependsOnNothingElse) {
  const PackedSample sample = packed_sample(300, 200, {0.5, 2, 9, 60});
  const Matrix<float> X = normal_matrix(71, 200, 6);
  const std::vector<float> bias(300, 0.25F);
  Matrix<float> all(71, 300), alone(1, 300);
  for_each_target([&] {
    for (const auto precision : {InputPrecision::kInt8, InputPrecision::kFloat}) {
      std::ranges::fill(all.values(), 2.0F);
      ThreadPool many(4), one(1);
      packed_multiply(many, sample.packed, X, precision, bias, 1, all);
      for (const int64_t t : {0, 1, 2, 3, 63, 64, 70}) {
        std::ranges::fill(alone.values(), 2.0F);
        packed_multiply(one, sample.packed, X.view().block(t, 0, 1, 200), precision, bias, 1,
                        alone);
        EXPECT_TRUE(std::ranges::equal(alone.row(0), all.row(t))) << t;
      }
    }
  });
}

TEST(Packed, ColumnsTakeTheNarrowestWidth) {
  Matrix<int32_t> m(250, 5);
  for (int64_t r = 0; r < 250; ++r) {
    m(r, 0) = 0;
    m(r, 1) = 3 + static_cast<int32_t>(r % 4);   // [3, 6]
    m(r, 2) = static_cast<int32_t>(r % 16) - 8;  // [-8, 7]
    m(r, 3) = r == 100 ? 1000 : static_cast<int32_t>(r % 2);
    m(r, 4) = 9;
  }
  IntegerCounts counts(5);
  counts.add(0, m);
  const auto expect = [&](int64_t column, int width, int32_t base) {
    EXPECT_EQ(counts.best_range(column).width, width) << column;
    EXPECT_EQ(counts.best_range(column).base, base) << column;
  };
  expect(0, 0, 0);
  expect(1, 2, 3);
  expect(2, 4, -8);
  expect(3, 2, -2);  // one exception
  expect(4, 1, 9);
}

TEST(Packed, AnEmptyMatrixHasNoProducts) {
  ThreadPool pool(1);
  PackedWriter writer(3, 2, 0, {});
  const PackedMatrix M = writer.take();
  const Matrix<float> X = normal_matrix(2, 2, 1);
  Matrix<float> Y(2, 3);
  std::ranges::fill(Y.values(), 1.0F);
  packed_multiply(pool, M, X, InputPrecision::kInt8, {}, 0, Y);
  for (const float y : Y.values()) EXPECT_EQ(y, 0);
}

}  // namespace
}  // namespace watersic
