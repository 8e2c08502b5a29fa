#include "pipeline/memory_plan.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace watersic {
namespace {

class MemoryPlanTest : public testing::Test {
 protected:
  MemoryPlanTest() {
    config_.hidden = 512;
    config_.intermediate = 2048;
    config_.blocks = 2;
    config_.vocabulary = 1000;
    config_.heads = config_.kv_heads = 8;
    config_.head_dim = 64;
    options_.embedding_bits = 16;
    layers_ = plan_layers(config_, options_);
  }
  MemoryPlan plan(int64_t windows, bool two = true, int64_t most = 0, int ranks = 1) const {
    return plan_memory(
        config_, layers_, {},
        {.windows = windows, .length = 1024, .two = two, .gradients = false, .ranks = ranks}, most);
  }

  ModelConfig config_;
  QuantizeOptions options_;
  std::vector<std::vector<LayerPlan>> layers_;
};

TEST_F(MemoryPlanTest, StreamsGoIntoAFileWhereTheyHaveNoRoom) {
  const MemoryPlan all = plan(64);
  EXPECT_FALSE(all.streams_in_file);
  EXPECT_EQ(all.at, "model.layers.0.mlp.down_proj.weight");
  const int64_t window = 2 * 1024 * config_.hidden * 4;
  EXPECT_EQ(all.peak_bytes - plan(32).peak_bytes, 32 * window);
  EXPECT_FALSE(plan(64, true, all.peak_bytes).streams_in_file);
  const MemoryPlan less = plan(64, true, all.peak_bytes - 1);
  EXPECT_TRUE(less.streams_in_file);
  EXPECT_EQ(all.peak_bytes - less.peak_bytes, 62 * window);  // two windows are a batch
  const std::string error = error_of([&] { plan(64, true, less.peak_bytes - 1); });
  EXPECT_NE(error.find("down_proj"), std::string::npos) << error;
}

TEST_F(MemoryPlanTest, RanksHaveTheStreamsOfTheirOwnBatches) {
  const int64_t window = 2 * 1024 * config_.hidden * 4;
  EXPECT_EQ(plan(64).peak_bytes - plan(64, true, 0, 4).peak_bytes, 48 * window);
  EXPECT_EQ(plan(64).peak_bytes - plan(64, true, 0, 5).peak_bytes, 50 * window);  // 14 at most
}

TEST_F(MemoryPlanTest, OneModelTakesLess) {
  const int64_t n = config_.intermediate;
  EXPECT_GT(plan(64).peak_bytes - plan(64, false).peak_bytes, 8 * n * n);
}

TEST_F(MemoryPlanTest, MetricsAndGradientsCount) {
  Passes passes{.windows = 2, .length = 1024, .gradients = false, .metrics = false};
  const auto found = [&] { return plan_memory(config_, layers_, {}, passes, 0); };
  const int64_t without = found().peak_bytes;
  passes.metrics = true;
  EXPECT_EQ(found().peak_bytes - without, 16 * config_.hidden * config_.hidden);  // of down_proj
  passes.gradients = true;
  EXPECT_EQ(found().at, "gradients");  // of so few weights
  config_.vocabulary = 500'000;
  EXPECT_GT(found().peak_bytes, 6 * config_.vocabulary * config_.hidden);
}

}  // namespace
}  // namespace watersic
