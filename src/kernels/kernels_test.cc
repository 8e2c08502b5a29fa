// Every kernel on every instruction set that this CPU has, against its scalar twin: the same bits.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "base/rng.h"
#include "kernels/activations.h"
#include "kernels/activations_scalar.h"
#include "kernels/attention_rows.h"
#include "support/targets.h"

namespace watersic::kernels {
namespace {

std::vector<float> gaussian(Rng& rng, size_t count, double spread = 1) {
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(spread * rng.normal());
  return x;
}

void expect_same(std::span<const float> found, std::span<const float> expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(found[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(found[i]), std::bit_cast<uint32_t>(expected[i])) << i;
    }
  }
}

const std::vector<size_t> kSizes = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 48, 64, 100, 257, 2048};

TEST(Exponential, IsWithinTwoUnitsInTheLastPlace) {
  double worst = 0;
  for (double x = -87; x < 88.7; x += 0.000317) {
    const auto at = static_cast<float>(x);
    const double exact = std::exp(static_cast<double>(at));
    const double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::abs(static_cast<double>(exponential(at)) - exact) / unit);
  }
  RecordProperty("worst", std::to_string(worst));
  EXPECT_LT(worst, 2.0);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exponential(0), 1.0F);
  EXPECT_EQ(exponential(-kInfinity), 0.0F);
  EXPECT_EQ(exponential(-200), 0.0F);
  EXPECT_EQ(exponential(kInfinity), kInfinity);
  EXPECT_EQ(exponential(89), kInfinity);
  EXPECT_TRUE(std::isnan(exponential(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_NEAR(exponential(-100), std::exp(-100.0), 0x1p-149);  // subnormal
}

TEST(Activations, RmsNormIsItsScalarTwin) {
  Rng rng(1);
  for (const size_t size : kSizes) {
    const auto x = gaussian(rng, size, 3), weight = gaussian(rng, size);
    std::vector<float> expected(size);
    scalar::rms_norm(x, weight, 1e-5, expected);
    double sum = 0;
    for (const float value : x) sum += static_cast<double>(value) * value;
    for (size_t i = 0; i < size; ++i)
      EXPECT_NEAR(expected[i], x[i] / std::sqrt(sum / static_cast<double>(size) + 1e-5) * weight[i],
                  1e-6 * (1 + std::abs(expected[i])));
    for_each_target([&] {
      std::vector<float> y(size);
      rms_norm(x, weight, 1e-5, y);
      expect_same(y, expected);
      y = x;
      rms_norm(y, weight, 1e-5, y);  // in place
      expect_same(y, expected);
    });
  }
}

TEST(Activations, SoftmaxIsItsScalarTwin) {
  Rng rng(2);
  for (const size_t size : kSizes) {
    for (const double spread : {0.1, 5.0, 1000.0}) {
      const auto x = gaussian(rng, size, spread);
      auto expected = x;
      scalar::softmax(expected);
      double sum = 0;
      for (const float value : expected) sum += static_cast<double>(value);
      EXPECT_NEAR(sum, size > 0 ? 1 : 0, 1e-5);
      for_each_target([&] {
        auto y = x;
        softmax(y);
        expect_same(y, expected);
      });
    }
  }
  // What is not a number does not get lost, wherever it stands.
  for (const size_t at : {0, 5, 16, 36}) {
    for_each_target([&] {
      std::vector<float> y(37, 1.0F);
      y[at] = std::numeric_limits<float>::quiet_NaN();
      softmax(y);
      for (const float value : y) EXPECT_TRUE(std::isnan(value));
    });
  }
}

TEST(Activations, GateIsItsScalarTwin) {
  Rng rng(3);
  for (const size_t size : kSizes) {
    for (const double spread : {1.0, 30.0, 1e4}) {
      const auto gate = gaussian(rng, size, spread), up = gaussian(rng, size);
      auto expected = gate;
      scalar::gate_with(expected, up);
      for (size_t i = 0; i < size; ++i) {
        const double exact = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
        EXPECT_NEAR(expected[i], exact, 1e-6 * std::abs(exact) + 1e-30);
      }
      for_each_target([&] {
        auto y = gate;
        gate_with(y, up);
        expect_same(y, expected);
      });
    }
  }
}

TEST(Activations, RotationIsItsScalarTwin) {
  Rng rng(4);
  for (const size_t half : kSizes) {
    std::vector<float> cosines(half), sines(half);
    for (size_t i = 0; i < half; ++i) {
      const double angle = 6 * rng.uniform();
      cosines[i] = static_cast<float>(std::cos(angle));
      sines[i] = static_cast<float>(std::sin(angle));
    }
    const auto head = gaussian(rng, 2 * half);
    auto expected = head;
    scalar::rotate_pairs(cosines, sines, expected);
    for_each_target([&] {
      auto y = head;
      rotate_pairs(cosines, sines, y);
      expect_same(y, expected);
    });
  }
}

uint16_t random_element(Rng& rng, uint16_t /*type*/) {
  // Subnormals among them.
  const double size = rng.below(10) == 0 ? 1e-7 : 1;
  return half_from_float(static_cast<float>(size * rng.normal()));
}
int8_t random_element(Rng& rng, int8_t /*type*/) {
  return static_cast<int8_t>(static_cast<int>(rng.below(255)) - 127);
}

template <class T>
struct Page {
  Page(Rng& rng, int64_t head_dim)
      : keys(static_cast<size_t>(kPagePositions * head_dim)),
        values(static_cast<size_t>(kPagePositions * padded(head_dim))),
        key_scales(kPagePositions),
        value_scales(kPagePositions) {
    for (T& x : keys) x = random_element(rng, T{});
    for (T& x : values) x = random_element(rng, T{});
    for (float& x : key_scales) x = static_cast<float>(rng.uniform());
    for (float& x : value_scales) x = static_cast<float>(rng.uniform());
  }
  HeadPage<T> view() {
    return {keys.data(), values.data(), key_scales.data(), value_scales.data()};
  }

  std::vector<T> keys, values;
  std::vector<float> key_scales, value_scales;
};

template <class T>
class AttentionRows : public testing::Test {};
using Elements = testing::Types<uint16_t, int8_t>;
TYPED_TEST_SUITE(AttentionRows, Elements);

TYPED_TEST(AttentionRows, AreTheirScalarTwins) {
  Rng rng(5);
  for (const int64_t head_dim : {2, 16, 24, 64, 80}) {
    Page<TypeParam> memory(rng, head_dim);
    const HeadPage<TypeParam> page = memory.view();
    for (const int64_t rows : {0, 1, 2, 3, 4, 7, 8, 13}) {
      for (const int64_t positions : {0, 1, 5, 16, 33, 127, 128}) {
        Matrix<float> Q(rows, head_dim), P(rows, padded(positions)), scores = P;
        for (float& x : Q.values()) x = static_cast<float>(rng.normal());
        for (float& x : P.values()) x = static_cast<float>(rng.uniform());
        const auto weights = P.view().block(0, 0, rows, positions);
        Matrix<float> before(rows, padded(head_dim));
        for (float& x : before.values()) x = static_cast<float>(rng.normal());
        Matrix<float> expected_scores = scores, expected = before;
        scalar::key_scores(page, Q, 0.25F, expected_scores);
        scalar::add_values(page, weights, expected);
        for_each_target([&] {
          key_scores(page, Q, 0.25F, scores);
          expect_same(scores.values(), expected_scores.values());
          Matrix<float> out = before;
          add_values(page, weights, out);
          expect_same(out.values(), expected.values());
        });
      }
    }
    for (const int64_t positions : {16, 64, 128}) {
      Matrix<float> K(head_dim, positions), V(positions, padded(head_dim)), keys = K, values = V;
      scalar::widen_keys(page, keys);
      scalar::widen_values(page, values);
      for_each_target([&] {
        widen_keys(page, K);
        widen_values(page, V);
        expect_same(K.values(), keys.values());
        expect_same(V.values(), values.values());
      });
    }
  }
}

TEST(HalfRows, EveryHalfIsWidenedExactly) {
  std::vector<uint16_t> keys(kPagePositions * 512);
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i] = static_cast<uint16_t>(i);
    if ((keys[i] & 0x7C00) == 0x7C00) keys[i] = 0;  // caches hold no infinity and no NaN
  }
  const HalfPage page{keys.data(), nullptr, nullptr, nullptr};
  Matrix<float> expected(512, kPagePositions), found(512, kPagePositions);
  scalar::widen_keys(page, expected);
  for_each_target([&] {
    widen_keys(page, found);
    expect_same(found.values(), expected.values());
  });
}

}  // namespace
}  // namespace watersic::kernels
