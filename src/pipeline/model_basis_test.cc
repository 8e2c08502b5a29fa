// What the file holds and what the passes see are one model.
#include "pipeline/model_basis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "linalg/blas.h"
#include "model/forward.h"
#include "pipeline/principal_axes.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class TiedModel : public testing::Test {
 protected:
  Matrix<float> logits(const ModelConfig& config, const WeightSource& source) {
    return OutputHead(config, source).logits(pool_, forward_all(pool_, config, source, windows_));
  }
  SavedBasis saved() {
    auto [rotation, variances] = principal_axes(pool_, config_, source_, windows_);
    SavedBasis out{.rotation = std::move(rotation), .axes = {}};
    out.axes = encode_axes(pool_, out.rotation.stream, variances);
    out.rotation.stream = decode_axes(pool_, out.axes);
    return out;
  }

  ThreadPool pool_{2};
  ModelConfig config_ = parse_config(tiny_config("qwen2"), "config.json");
  MemorySource source_ = random_model(config_, 1);
  std::vector<std::vector<int32_t>> windows_ = random_windows(config_, 6, 40, 2);
};

double relative_error(const Matrix<float>& found, const Matrix<float>& expected) {
  double error = 0, size = 0;
  for (size_t i = 0; i < found.values().size(); ++i) {
    const double x = expected.values()[i], y = found.values()[i];
    error += (x - y) * (x - y);
    size += x * x;
  }
  return error / size;
}

TEST_F(TiedModel, KeepsItsTieInTheFileAndItsLogits) {
  ModelBasis basis(pool_, config_, source_);
  EXPECT_EQ(&basis.weights(), &source_);
  basis.turn(saved());
  EXPECT_NO_THROW(check_tensors(config_, basis.stored()));
  EXPECT_NO_THROW(check_tensors(basis.config(), basis.weights()));
  EXPECT_TRUE(config_.tied_embeddings);
  EXPECT_FALSE(basis.config().tied_embeddings);
  EXPECT_LT(relative_error(logits(basis.config(), basis.weights()), logits(config_, source_)),
            1e-9);
  for (const char* name : {kEmbedding, kFinalNorm})
    EXPECT_TRUE(
        std::ranges::equal(basis.stored().matrix(name).values(), source_.matrix(name).values()));
}

TEST_F(TiedModel, CodedAxesAreNearTheOnesGivenAndTheFirstNearest) {
  const Matrix<float> given = principal_axes(pool_, config_, source_, windows_).rotation.stream;
  std::vector<double> variances, errors;
  for (int64_t j = 0; j < given.cols(); ++j) variances.push_back(std::exp2(-0.25 * j));
  const Matrix<float> found = decode_axes(pool_, encode_axes(pool_, given, variances));
  for (int64_t j = 0; j < given.cols(); ++j) {
    double along = 0;
    for (int64_t i = 0; i < given.rows(); ++i)
      along += static_cast<double>(given(i, j)) * static_cast<double>(found(i, j));
    errors.push_back(1 - along);
    EXPECT_LT(errors.back(), 0.1) << j;
  }
  EXPECT_LT(errors.front(), 0.2 * *std::ranges::max_element(errors));
}

// Errors of stored rows cost by the stored metrics what they cost in the stream by its own.
TEST_F(TiedModel, MetricsFollowTheBasis) {
  ModelBasis basis(pool_, config_, source_);
  basis.turn(saved());
  const int64_t n = config_.hidden;
  Rng rng(4);
  Matrix<double> factor(2 * n, n), S(n, n);
  for (double& x : factor.values()) x = rng.normal();
  add_gram(pool_, factor, S);
  Matrix<float> e(1, n);
  for (float& x : e.values()) x = static_cast<float>(rng.normal());
  const auto cost = [&](const Matrix<float>& error, const Matrix<double>& metric) {
    Matrix<double> wide(1, n);
    std::ranges::copy(error.values(), wide.values().begin());
    return quadratic_trace(pool_, wide, metric);
  };
  EXPECT_NEAR(cost(e, basis.from_stream(S)) / cost(basis.to_stream(e), S), 1, 1e-5);
  Matrix<float> gained = e;
  const std::vector<float> gain = source_.vector(kFinalNorm);
  for (int64_t i = 0; i < n; ++i) gained(0, i) *= gain[static_cast<size_t>(i)];
  EXPECT_NEAR(cost(e, basis.from_head(S)) / cost(basis.to_stream(gained), S), 1, 1e-5);
}

TEST(ResolvedBasis, IsWhatCostsNextToNothing) {
  QuantizeOptions options;
  ModelConfig config = parse_config(tiny_config("qwen2"), "config.json");
  EXPECT_EQ(resolved_basis(config, options), Basis::kHeads);  // so small: axes are dear
  config.tied_embeddings = false;
  EXPECT_EQ(resolved_basis(config, options), Basis::kPrincipal);
  config.tied_embeddings = true;
  config.blocks = 1000;
  EXPECT_EQ(resolved_basis(config, options), Basis::kPrincipal);
  options.method = Method::kHuffmanGptq;
  EXPECT_EQ(resolved_basis(config, options), Basis::kNative);
  options.model.basis = Basis::kPrincipal;
  EXPECT_EQ(resolved_basis(config, options), Basis::kPrincipal);
  options.calibration.source = CalibrationOptions::Source::kNone;
  EXPECT_THROW(resolved_basis(config, options), Error);
  options.model.basis = {};
  options.method = Method::kWatersic;
  EXPECT_EQ(resolved_basis(config, options), Basis::kNative);
}

}  // namespace
}  // namespace watersic
