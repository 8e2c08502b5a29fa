#include "finetune/layer_scales.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "finetune/adam.h"

namespace watersic {
namespace {

std::vector<uint16_t> halves(Rng& rng, int64_t n, int zeros) {
  std::vector<uint16_t> out;
  for (int64_t i = 0; i < n; ++i)
    out.push_back(half_with_zeros(static_cast<float>(std::exp(0.3 * rng.normal())), zeros));
  return out;
}

// Two tiles of rows. Scales with both signs, of a few bits.
QuantizedTensor plain_tensor(int64_t rows = 70, int64_t cols = 20) {
  Rng rng(1);
  QuantizedTensor q{.rows = rows, .cols = cols};
  q.codes = Matrix<int32_t>(rows, cols);
  for (int32_t& z : q.codes.values()) z = static_cast<int32_t>(std::lround(2 * rng.normal()));
  q.row_scale.half = halves(rng, rows, 5);
  q.column_scale = {.exponent = -3, .half = halves(rng, cols, 3)};
  q.column_scale.half[2] |= 0x8000;
  return q;
}

struct Case {
  const char* name;
  QuantizedTensor tensor;
};

std::vector<Case> cases() {
  Rng rng(2);
  std::vector<Case> out;
  out.push_back({"row and column scales", plain_tensor()});
  QuantizedTensor q = plain_tensor();
  q.dead = {0, 7, 19};
  q.codes = Matrix<int32_t>(q.rows, q.live());
  for (int32_t& z : q.codes.values()) z = static_cast<int32_t>(rng.below(5)) - 2;
  q.column_scale.half.resize(static_cast<size_t>(q.live()));
  q.trellis = 4;
  q.segment_rows = 70;
  out.push_back({"dead columns and a trellis", q});
  q = plain_tensor();
  q.strands = 5;
  out.push_back({"heads in turn", q});
  q = plain_tensor();
  q.row_scale = {};
  q.column_scale.half.resize(1);
  out.push_back({"one step", q});
  q.rotation = 9;
  q.row_scale.half = halves(rng, q.rows, 0);
  out.push_back({"rotated", q});
  q = plain_tensor();
  q.row_scale = q.column_scale = {};
  q.groups = 3;
  for (int64_t i = 0; i < q.cols; ++i) q.column_group.push_back(static_cast<int32_t>(i % 3));
  q.group_scale.half = halves(rng, 3 * q.rows, 0);
  out.push_back({"groups", q});
  return out;
}

// The weights are linear in each factor: a step of any length is the derivative.
TEST(LayerScales, GradientsAreThoseOfTheDecodedWeights) {
  ThreadPool pool(2);
  for (const Case& item : cases()) {
    SCOPED_TRACE(item.name);
    QuantizedTensor tensor = item.tensor;
    LayerScales scales(tensor);
    Rng rng(3);
    Matrix<float> dV(tensor.rows, tensor.cols);
    for (float& x : dV.values()) x = static_cast<float>(rng.normal());
    const auto loss = [&](std::span<const double> factors) {
      scales.set(factors);
      scales.apply(tensor);
      const Matrix<float> V = dequantize(tensor);
      double sum = 0;
      for (size_t i = 0; i < V.values().size(); ++i)
        sum += static_cast<double>(V.values()[i]) * static_cast<double>(dV.values()[i]);
      return sum;
    };
    // Powers of two, which rounding leaves alone.
    std::vector<double> factors(scales.count());
    for (double& f : factors) f = rng.below(2) == 0 ? 1 : 2;
    const double at = loss(factors);
    std::vector<double> gradient(scales.count(), 1.0);  // is added to
    scales.add_gradient(pool, dequantize(tensor), dV, gradient);
    for (size_t i = 0; i < factors.size(); ++i) {
      const double factor = factors[i];
      factors[i] = 2 * factor;
      const double expected = (loss(factors) - at) / factor;
      factors[i] = factor;
      EXPECT_NEAR(gradient[i] - 1, expected, 1e-4 * (1 + std::fabs(expected))) << i;
    }
  }
}

TEST(LayerScales, KeepTheirPrecision) {
  for (const Case& item : cases()) {
    SCOPED_TRACE(item.name);
    QuantizedTensor tensor = item.tensor;
    LayerScales scales(tensor);
    const QuantizedTensor stored = tensor;
    const auto with = [&](double factor) {
      scales.set(std::vector<double>(scales.count(), factor));
      scales.apply(tensor);
      return tensor;
    };
    EXPECT_EQ(with(1).row_scale.half, stored.row_scale.half);
    EXPECT_EQ(with(1 + 1e-5).column_scale.half, stored.column_scale.half);
    EXPECT_FALSE(scales.changed());
    with(1.3);
    EXPECT_TRUE(scales.changed());
    for (const auto& [now, before] : {std::pair(&tensor.row_scale, &stored.row_scale),
                                      std::pair(&tensor.column_scale, &stored.column_scale),
                                      std::pair(&tensor.group_scale, &stored.group_scale)}) {
      ASSERT_EQ(now->half.size(), before->half.size());
      EXPECT_EQ(now->exponent, before->exponent);
      unsigned bits_before = 0, bits_now = 0;
      for (size_t i = 0; i < now->half.size(); ++i) {
        bits_before |= before->half[i];
        bits_now |= now->half[i];
        const float value = before->value(static_cast<int64_t>(i));
        EXPECT_NEAR(now->value(static_cast<int64_t>(i)), 1.3F * value, 0.02F * std::fabs(value));
      }
      if (now->half.size() > 1) {  // no bit is used that was not
        EXPECT_GE(std::countr_zero(bits_now), std::min(10, std::countr_zero(bits_before)));
      }
    }
  }
}

TEST(LayerScales, StayFinite) {
  QuantizedTensor tensor = plain_tensor();
  LayerScales scales(tensor);
  scales.set(std::vector<double>(scales.count(), 1e9));
  scales.apply(tensor);
  for (int64_t k = 0; k < tensor.rows; ++k) EXPECT_TRUE(std::isfinite(tensor.row_scale.value(k)));
  // A scale that has become zero has no direction back; it must not make others' NaN.
  scales.set(std::vector<double>(scales.count(), 0));
  scales.apply(tensor);
  ThreadPool pool(1);
  const Matrix<float> V = dequantize(tensor);
  std::vector<double> gradient(scales.count());
  scales.add_gradient(pool, V, V, gradient);
  for (const double g : gradient) EXPECT_EQ(g, 0);
}

TEST(Halves, WithZeros) {
  EXPECT_EQ(half_with_zeros(1.0F, 5), 0x3C00);
  EXPECT_EQ(half_with_zeros(1.0F + 15.0F / 1024, 5), 0x3C00);
  EXPECT_EQ(half_with_zeros(1.0F + 16.0F / 1024, 5), 0x3C20);
  EXPECT_EQ(half_with_zeros(-1.999F, 5), 0xC000);
  EXPECT_EQ(half_with_zeros(1.2345F, 0), half_from_float(1.2345F));
  EXPECT_EQ(half_with_zeros(1e9F, 0), 0x7BFF);  // the largest that is finite
  EXPECT_EQ(half_with_zeros(1e9F, 10), 0x7800);
  EXPECT_EQ(half_with_zeros(65500.0F, 10), 0x7800);
}

TEST(Adam, StepsByTheLearningRateAndFindsTheMinimum) {
  std::vector<double> x = {1, 1, 1};
  {
    Adam adam(3);
    adam.step(0.01, std::vector<double>{5, -1e-3, 0}, x);
    EXPECT_NEAR(x[0], 0.99, 1e-9);
    EXPECT_NEAR(x[1], 1.01, 1e-6);
    EXPECT_EQ(x[2], 1);
  }
  Adam adam(3);
  const std::vector<double> minimum = {0.5, 2, -1}, curvature = {1, 100, 0.01};
  for (int i = 0; i < 4000; ++i) {
    std::vector<double> gradient;
    for (size_t k = 0; k < 3; ++k) gradient.push_back(curvature[k] * (x[k] - minimum[k]));
    adam.step(0.01 * (4000 - i) / 4000, gradient, x);
  }
  for (size_t k = 0; k < 3; ++k) EXPECT_NEAR(x[k], minimum[k], 1e-3);
}

}  // namespace
}  // namespace watersic
