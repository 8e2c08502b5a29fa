#include "pipeline/basis_choice.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "support/tiny_models.h"

namespace watersic {
namespace {

TEST(WaterfillingCost, IsTheGaussianLimit) {
  // All alike: D = 2^(-2R).
  const std::vector<double> alike(8, 2.0), ones(5, 1.0);
  EXPECT_NEAR(waterfilling_cost(alike, ones, 3), 0.5 * std::log2(2.0) - 3, 1e-6);
  // All above the water: the geometric mean of what they are.
  const std::vector<double> rows{1, 4}, columns{1, 16};
  EXPECT_NEAR(waterfilling_cost(rows, columns, 4), 0.5 * std::log2(8.0) - 4, 1e-6);
  // At no rate the mean of all; and what is nothing takes no bits.
  EXPECT_NEAR(waterfilling_cost(rows, columns, 0), 0.5 * std::log2(2.5 * 8.5), 1e-4);
  const std::vector<double> half{1, 0};
  EXPECT_NEAR(waterfilling_cost(half, ones, 1), 0.5 * std::log2(0.5) - 2, 1e-3);
}

class BasisChoiceTest : public testing::Test {
 protected:
  SavedBasis settled(const WeightSource& source, Basis basis, std::optional<double> bits) {
    return settle_basis(pool_, config_, source, windows_, basis, bits);
  }

  ThreadPool pool_{2};
  ModelConfig config_ = parse_config(tiny_config("qwen3"), "config.json");  // no tied embedding
  MemorySource source_ = random_model(config_, 1);
  std::vector<std::vector<int32_t>> windows_ = random_windows(config_, 32, 128, 1);
};

TEST_F(BasisChoiceTest, WhatIsAskedForIsDone) {
  EXPECT_TRUE(settled(source_, Basis::kNative, {}).rotation.heads.empty());
  const SavedBasis heads = settled(source_, Basis::kHeads, {}),
                   principal = settled(source_, Basis::kPrincipal, {});
  EXPECT_TRUE(heads.rotation.stream.empty());
  EXPECT_FALSE(heads.rotation.heads.empty());
  EXPECT_FALSE(principal.rotation.stream.empty());
}

TEST_F(BasisChoiceTest, AModelWhoseWeightsHaveCoordinatesKeepsThem) {
  // Rows and columns of very unequal size, which a turn would make alike.
  MemorySource uneven = source_;
  Rng rng(2);
  std::vector<float> scales;
  for (int64_t i = 0; i < config_.hidden; ++i)
    scales.push_back(static_cast<float>(std::exp(1.5 * rng.normal())));
  for (int64_t block = 0; block < config_.blocks; ++block) {
    for (const LinearSite& site : linear_sites(config_, block)) {
      Matrix<float> W = source_.matrix(site.name);
      const bool writes = site.linear == kOutput || site.linear == kDown;
      for (int64_t k = 0; k < W.rows(); ++k)
        for (int64_t j = 0; j < W.cols(); ++j)
          W(k, j) *= scales[static_cast<size_t>(writes ? k : j)];
      uneven.set(site.name, std::move(W));
    }
  }
  EXPECT_TRUE(settled(uneven, Basis::kPrincipal, 2.0).rotation.heads.empty());
  EXPECT_FALSE(settled(uneven, Basis::kPrincipal, {}).rotation.heads.empty());
}

TEST_F(BasisChoiceTest, AModelWhoseStreamHasAxesIsTurned) {
  // An embedding in a few directions that are no coordinates: what the layers see is theirs.
  MemorySource flat = source_;
  Rng rng(3);
  const int64_t n = config_.hidden, rank = n / 8;
  Matrix<float> directions(rank, n);
  for (float& x : directions.values()) x = static_cast<float>(rng.normal());
  Matrix<float> E = source_.matrix(kEmbedding);
  for (int64_t v = 0; v < E.rows(); ++v) {
    for (int64_t j = 0; j < n; ++j) E(v, j) *= 0.05F;
    for (int64_t d = 0; d < rank; ++d) {
      const auto part = static_cast<float>(rng.normal());
      for (int64_t j = 0; j < n; ++j) E(v, j) += part * directions(d, j);
    }
  }
  flat.set(kEmbedding, std::move(E));
  EXPECT_FALSE(settled(flat, Basis::kPrincipal, 2.0).rotation.stream.empty());
}

}  // namespace
}  // namespace watersic
