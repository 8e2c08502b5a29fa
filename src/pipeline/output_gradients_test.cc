// The metrics of the outputs against the KL that real errors make.
#include "pipeline/output_gradients.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/rng.h"
#include "calibration/stage_moments.h"
#include "model/forward.h"
#include "model/model_backward.h"
#include "quant/distortion.h"
#include "support/test_folder.h"
#include "support/tiny_models.h"

namespace watersic {
namespace {

class OutputGradientsTest : public testing::Test {
 protected:
  static constexpr int64_t kLength = 64;

  void SetUp() override {
    Rng rng(1);
    for (int w = 0; w < 48; ++w) {
      windows_.emplace_back();
      for (int64_t t = 0; t < kLength; ++t)
        windows_.back().push_back(
            static_cast<int32_t>(rng.below(static_cast<uint64_t>(config_.vocabulary))));
    }
  }
  OutputGradients gradients(uint64_t seed) {
    return {pool_, config_, source_, windows_, seed, folder_ / "out"};
  }

  TestFolder folder_{"output-gradients"};
  ThreadPool pool_{2};
  ModelConfig config_ = parse_config(tiny_config("llama"), "config.json");
  MemorySource source_ = random_model(config_, 1);
  std::vector<std::vector<int32_t>> windows_;
};

TEST_F(OutputGradientsTest, ForetellTheKlOfRandomErrors) {
  const OutputGradients all = gradients(3);
  EXPECT_EQ(all.tokens(), 48 * kLength);
  std::vector<std::array<Matrix<double>, 4>> S(static_cast<size_t>(config_.blocks));
  const Matrix<float> last = forward_all(
      pool_, config_, source_, windows_,
      [&](int64_t block, Capture capture, MatrixView<const float> input) {
        StageMoments moments({});
        moments.add(pool_, {.X = input});
        S[static_cast<size_t>(block)][static_cast<size_t>(capture)] = moments.take(pool_).plain.S;
      });
  const OutputHead head(config_, source_);
  Rng rng(4);
  for (int64_t block = 0; block < config_.blocks; ++block) {
    const OutputMetrics metrics = all.metrics(pool_, block);
    for (const LinearSite& site : linear_sites(config_, block)) {
      const Matrix<double>& G = metrics[site.linear];
      ASSERT_EQ(G.rows(), site.rows);
      ASSERT_EQ(G.cols(), site.rows);
      MemorySource changed = source_;
      Matrix<float> W = source_.matrix(site.name), V = W;
      for (float& v : V.values()) v += 0.02F * static_cast<float>(rng.normal());
      changed.set(site.name, V);
      const Matrix<float> other = forward_all(pool_, config_, changed, windows_);
      Matrix<float> reference = head.logits(pool_, last), logits = head.logits(pool_, other);
      const double kl = kl_loss(pool_, 1, reference, logits) / static_cast<double>(last.rows());
      double mean = 0;
      for (int64_t k = 0; k < G.rows(); ++k) mean += G(k, k);
      const LayerProblem problem{
          .W = W,
          .S = S[static_cast<size_t>(block)][static_cast<size_t>(site.input)],
          .output_metric = G};
      const double foretold =
          0.5 * mean * static_cast<double>(site.cols) * distortions(pool_, problem, V).weighted;
      EXPECT_GT(foretold, kl / 2.5) << site.name;
      EXPECT_LT(foretold, kl * 2.5) << site.name;
    }
  }
}

TEST_F(OutputGradientsTest, DependOnTheSeedOnly) {
  const OutputMetrics one = gradients(3).metrics(pool_, 1), same = gradients(3).metrics(pool_, 1),
                      other = gradients(4).metrics(pool_, 1);
  for (size_t l = 0; l < one.size(); ++l) {
    EXPECT_TRUE(std::ranges::equal(one[l].values(), same[l].values()));
    EXPECT_FALSE(std::ranges::equal(one[l].values(), other[l].values()));
  }
}

TEST_F(OutputGradientsTest, WeighTokensByTheErrorsThatTheyMake) {
  const OutputGradients all = gradients(3);
  const TokenWeights& found = all.token_weights(1);
  for (const std::vector<float>& weights : found) {
    ASSERT_EQ(weights.size(), windows_.size() * kLength);
    double sum = 0, squares = 0;
    for (const float w : weights) {
      EXPECT_GE(w, 0);
      sum += w;
      squares += static_cast<double>(w) * w;
    }
    EXPECT_NEAR(sum / static_cast<double>(weights.size()), 1, 1e-4);
    EXPECT_LT(squares / static_cast<double>(weights.size()), 2.001);
  }
  // The first tokens of a window are read by many, the last by few.
  const auto mean = [&](Capture stage, int64_t from, int64_t to) {
    double sum = 0;
    for (size_t w = 0; w < windows_.size(); ++w)
      for (int64_t t = from; t < to; ++t)
        sum += found[static_cast<size_t>(stage)][w * kLength + static_cast<size_t>(t)];
    return sum / static_cast<double>(static_cast<int64_t>(windows_.size()) * (to - from));
  };
  EXPECT_GT(mean(Capture::kQkv, 0, 8), 1.1 * mean(Capture::kQkv, kLength - 8, kLength));
}

// Of the embedding through the stream, of the head through the logits.
TEST_F(OutputGradientsTest, ForetellTheKlOfErrorsByToken) {
  const OutputGradients all = gradients(3);
  const Matrix<double>& stream = all.stream();
  const int64_t n = config_.hidden;
  double trace = 0, inputs = 0, heads = 0;
  for (int64_t i = 0; i < n; ++i) trace += stream(i, i), inputs += all.head().S(i, i);
  for (const double h : all.head().metric.values()) heads += h;
  EXPECT_GT(heads, 0.1);
  EXPECT_LT(heads, 1);

  const Matrix<float> last = forward_all(pool_, config_, source_, windows_);
  constexpr double kSpread = 0.01;
  const auto kl_of = [&](const char* name) {
    MemorySource changed = source_;
    Rng rng(4);
    Matrix<float> V = source_.matrix(name);
    for (float& v : V.values()) v += static_cast<float>(kSpread * rng.normal());
    changed.set(name, std::move(V));
    const Matrix<float> other = forward_all(pool_, config_, changed, windows_);
    Matrix<float> reference = OutputHead(config_, source_).logits(pool_, last),
                  logits = OutputHead(config_, changed).logits(pool_, other);
    return kl_loss(pool_, 1, reference, logits) / static_cast<double>(last.rows());
  };
  // Errors that know nothing of each other: every token costs 1/2 kSpread^2 times the trace.
  EXPECT_NEAR(std::log2(0.5 * kSpread * kSpread * trace / kl_of(kEmbedding)), 0, 1);
  EXPECT_NEAR(std::log2(0.5 * kSpread * kSpread * heads * inputs / kl_of(kHead)), 0, 0.5);
}

}  // namespace
}  // namespace watersic
