#include "watersic/layer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/threads.h"
#include "io/json.h"
#include "quant/families.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class QuantizeLayer : public testing::Test {
 protected:
  QuantizeLayer() : data_(make_layer(pool_, "ar1", 128, 64, 1)) {}

  // The message for the layer after `change`; the options are those of the default method.
  std::string error_of(const std::function<void(LayerData&)>& change) const {
    LayerData data = data_;
    change(data);
    return error_of(data.W, data.S, {});
  }
  static std::string error_of(MatrixView<const float> W, MatrixView<const double> S,
                              const LayerOptions& options) {
    try {
      quantize_layer(W, S, options);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  }

  ThreadPool pool_;
  LayerData data_;
};

TEST_F(QuantizeLayer, ReportsWhatItDid) {
  const LayerResult r = quantize_layer(data_.W, data_.S, {.bits = 3});
  EXPECT_EQ(r.rows, 128);
  EXPECT_EQ(r.cols, 64);
  EXPECT_NEAR(r.bits.file, 3, 0.005);
  EXPECT_DOUBLE_EQ(r.bits.file, 8.0 * static_cast<double>(r.coded.size()) / (128 * 64));
  EXPECT_DOUBLE_EQ(r.gap, r.bits.coded - r.limit_bits);
  // The trellis' gap, and what a small matrix pays for its classes.
  EXPECT_GT(r.gap, 0.03);
  EXPECT_LT(r.gap, 0.2);
  double direct = 0;
  for (int64_t k = 0; k < 128; ++k)
    for (int64_t i = 0; i < 64; ++i)
      for (int64_t j = 0; j < 64; ++j)
        direct += (static_cast<double>(data_.W(k, i)) - r.dequantized(k, i)) * data_.S(i, j) *
                  (static_cast<double>(data_.W(k, j)) - r.dequantized(k, j)) / (128 * 64);
  EXPECT_NEAR(r.distortion, direct, 1e-9 * direct);

  const Json json = Json::parse(to_json(r));
  EXPECT_EQ(json["schema"], "watersic.layer/1");
  EXPECT_EQ(json["bits"]["file"], r.bits.file);
  EXPECT_EQ(json["distortion"], r.distortion);
  EXPECT_TRUE(json.contains("model_id"));
}

TEST_F(QuantizeLayer, AViewIntoALargerMatrixWillDo) {
  Matrix<float> W(130, 80);
  Matrix<double> S(70, 70);
  for (int64_t k = 0; k < 128; ++k)
    for (int64_t j = 0; j < 64; ++j) W(k + 1, j + 7) = data_.W(k, j);
  for (int64_t i = 0; i < 64; ++i)
    for (int64_t j = 0; j < 64; ++j) S(i + 3, j + 3) = data_.S(i, j);
  const LayerResult whole = quantize_layer(data_.W, data_.S, {}),
                    part = quantize_layer(W.view().block(1, 7, 128, 64),
                                          S.view().block(3, 3, 64, 64), {});
  EXPECT_EQ(whole.coded, part.coded);
  EXPECT_EQ(whole.limit_bits, part.limit_bits);
}

TEST_F(QuantizeLayer, ShapesMustAgree) {
  EXPECT_EQ(error_of(data_.W, data_.S.view().block(0, 0, 63, 63), {}),
            "covariance: expected 64 x 64 (the weights have 64 columns), found 63 x 63");
  EXPECT_NE(error_of(data_.W, data_.S.view().block(0, 0, 64, 63), {}), "(no error)");
  EXPECT_NE(error_of(Matrix<float>(0, 64), data_.S, {}), "(no error)");
  EXPECT_NE(error_of(Matrix<float>(), Matrix<double>(), {}), "(no error)");
}

TEST_F(QuantizeLayer, ValuesMustBeNumbers) {
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(error_of([&](LayerData& d) { d.W(2, 3) = static_cast<float>(nan); }),
            "weights: expected finite values, found nan at row 2, column 3");
  EXPECT_EQ(error_of([&](LayerData& d) { d.W(0, 63) = -static_cast<float>(infinity); }),
            "weights: expected finite values, found -inf at row 0, column 63");
  EXPECT_EQ(error_of([&](LayerData& d) { d.S(5, 4) = nan; }),
            "covariance: expected finite values, found nan at row 5, column 4");
  EXPECT_EQ(error_of([&](LayerData& d) { d.S(1, 1) = infinity; }),
            "covariance: expected finite values, found inf at row 1, column 1");
}

TEST_F(QuantizeLayer, TheCovarianceMustBeOne) {
  EXPECT_NE(error_of([](LayerData& d) { d.S(2, 1) += 0.1; }).find("symmetric"), std::string::npos);
  // Not taken for columns that nothing reaches.
  const std::string negative = error_of([](LayerData& d) {
    for (double& s : d.S.values()) s = -s;
  });
  EXPECT_NE(negative.find("no negative value on the diagonal"), std::string::npos) << negative;
  const std::string indefinite = error_of([](LayerData& d) { d.S(2, 1) = d.S(1, 2) = 1000; });
  EXPECT_NE(indefinite.find("positive semidefinite"), std::string::npos) << indefinite;
  EXPECT_EQ(error_of([](LayerData& d) { d.S(2, 1) += 1e-9; }), "(no error)");
  // Symmetric, but of no vector's moments.
  const std::string error = error_of([](LayerData& d) { d.S(2, 1) = d.S(1, 2) = 5; });
  EXPECT_NE(error.find("positive"), std::string::npos) << error;
}

TEST_F(QuantizeLayer, OptionsMustMakeSense) {
  const auto error = [&](const LayerOptions& options) {
    return error_of(data_.W, data_.S, options);
  };
  EXPECT_NE(error({.bits = 0}).find("bits"), std::string::npos);
  EXPECT_NE(error({.bits = std::numeric_limits<double>::quiet_NaN()}).find("bits"),
            std::string::npos);
  EXPECT_NE(error({.method = Method::kRtn, .bits = 1.5}).find("integer grid"), std::string::npos);
  EXPECT_NE(error({.group_size = 32}).find("group"), std::string::npos);
  EXPECT_NE(error({.method = Method::kHuffmanRtn, .damping = 0.1}).find("damping"),
            std::string::npos);
  EXPECT_NE(error({.method = Method::kGptq, .lmmse = false}).find("lmmse"), std::string::npos);
}

TEST_F(QuantizeLayer, AMetricOfTheOutputsIsMindedOrRefused) {
  Matrix<double> G(data_.W.rows(), data_.W.rows());
  for (int64_t k = 0; k < G.rows(); ++k) G(k, k) = k % 2 == 0 ? 9 : 1;
  const LayerResult r = quantize_layer(data_.W, data_.S, {.bits = 2.5}, G);
  double even = 0, odd = 0;
  for (int64_t k = 0; k < G.rows(); ++k)
    for (int64_t j = 0; j < data_.W.cols(); ++j)
      (k % 2 == 0 ? even : odd) += std::pow(data_.W(k, j) - r.dequantized(k, j), 2);
  EXPECT_LT(even, 0.5 * odd);
  EXPECT_GT(r.weighted_distortion, 0);
  EXPECT_GT(r.gap, 0);
  EXPECT_LT(r.gap, 0.3);
  const auto error = [&](const Matrix<double>& metric, const LayerOptions& options) -> std::string {
    try {
      quantize_layer(data_.W, data_.S, options, metric);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  };
  EXPECT_NE(error(data_.S, {}).find("output metric: expected"), std::string::npos);
  EXPECT_EQ(error(G, {.method = Method::kHuffmanGptq}),
            "output metric: expected method watersic without LMMSE");
  G(0, 1) = 1;
  EXPECT_NE(error(G, {}).find("expected a symmetric matrix"), std::string::npos);
}

}  // namespace
}  // namespace watersic
