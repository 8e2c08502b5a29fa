#include "checkpoint/synth.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "engine/sample_sequences.h"
#include "io/atomic_file.h"
#include "io/text.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

class Synth : public ::testing::Test {
 protected:
  Synth() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    dir_ = fs::temp_directory_path() / (std::string("watersic-synth-") + info->name());
    fs::remove_all(dir_);
  }
  ~Synth() override { fs::remove_all(dir_); }

  static std::string bytes(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fs::path dir_;
  ThreadPool pool_ = ThreadPool(2);
};

TEST_F(Synth, TheShapesOfTheKnownModels) {
  int64_t values[3] = {};
  const char* names[] = {"llama-3.2-1b", "llama-3-8b", "qwen3-8b"};
  for (int i = 0; i < 3; ++i)
    for (const auto& tensor :
         model_tensors(parse_config(synth_config(names[i], {}), "config.json")))
      values[i] += tensor.shape.rows * tensor.shape.cols;
  EXPECT_EQ(values[0], 1235814400);  // the published numbers of parameters
  EXPECT_EQ(values[1], 8030261248);
  EXPECT_EQ(values[2], 8190735360);
  EXPECT_EQ(parse_config(synth_config("qwen3-8b", 2), "config.json").blocks, 2);
  EXPECT_THROW(synth_config("qwen3-8b", 0), Error);
  EXPECT_THROW(synth_config("qwen3-8b", 37), Error);
  EXPECT_THROW(synth_config("gpt-2", {}), Error);
}

TEST_F(Synth, EveryArchitectureLoadsAndRuns) {
  for (const std::string& kind : tiny_kinds()) {
    synthesize(pool_, tiny_config(kind), dir_ / kind);
    const ModelConfig config = load_config(dir_ / kind);
    const CheckpointSource source(dir_ / kind);
    EXPECT_NO_THROW(check_tensors(config, source)) << kind;
    EXPECT_EQ(source.dtype(kEmbedding), "BF16");
    const auto sequences = sample_sequences(pool_, config, source, {.count = 2, .length = 30});
    EXPECT_EQ(sequences[1].size(), 30U);
  }
}

TEST_F(Synth, BytesDependOnTheSeedOnly) {
  const Json config = tiny_config("llama");
  ThreadPool one(1);
  synthesize(one, config, dir_ / "a", {.seed = 3});
  synthesize(pool_, config, dir_ / "b", {.seed = 3});
  synthesize(pool_, config, dir_ / "c", {.seed = 4});
  EXPECT_EQ(bytes(dir_ / "a/model.safetensors"), bytes(dir_ / "b/model.safetensors"));
  EXPECT_NE(bytes(dir_ / "a/model.safetensors"), bytes(dir_ / "c/model.safetensors"));
}

TEST_F(Synth, ShardsHoldTheSameTensors) {
  const Json config = tiny_config("qwen3");
  const std::string tokenizer = WATERSIC_SOURCE_DIR "/models/books-llama";
  synthesize(pool_, config, dir_ / "whole");
  synthesize(pool_, config, dir_ / "shards", {.tokenizer = tokenizer, .shard_bytes = 10000});
  EXPECT_TRUE(fs::exists(dir_ / "shards/model.safetensors.index.json"));
  EXPECT_EQ(read_text(dir_ / "shards/tokenizer.json"), read_text(tokenizer + "/tokenizer.json"));
  const CheckpointSource whole(dir_ / "whole"), shards(dir_ / "shards");
  ASSERT_EQ(whole.names(), shards.names());
  for (const std::string& name : whole.names()) {
    const Matrix<float> a = whole.matrix(name), b = shards.matrix(name);
    EXPECT_TRUE(std::ranges::equal(a.values(), b.values())) << name;
  }
  int files = 0;
  for (const auto& entry : fs::directory_iterator(dir_ / "shards"))
    if (entry.path().extension() == ".safetensors") ++files;
  EXPECT_GT(files, 3);
}

TEST_F(Synth, WeightsHaveHeavyTailsAndUnequalRows) {
  Json config = tiny_config("mistral");
  config["hidden_size"] = 256;
  config["num_hidden_layers"] = 1;
  synthesize(pool_, config, dir_);
  const Matrix<float> W = CheckpointSource(dir_).matrix(block_tensor(0, "mlp.down_proj.weight"));
  double square = 0, fourth = 0, least = 1e30, most = 0;
  for (int64_t i = 0; i < W.rows(); ++i) {
    double row = 0;
    for (const float x : W.row(i)) {
      row += std::pow(x, 2) / static_cast<double>(W.cols());
      fourth += std::pow(x, 4) / static_cast<double>(W.size());
    }
    square += row / static_cast<double>(W.rows());
    least = std::min(least, row);
    most = std::max(most, row);
  }
  EXPECT_NEAR(std::sqrt(square * static_cast<double>(W.cols())), 0.8, 0.2);
  EXPECT_GT(fourth / (square * square), 4);  // a Gaussian has 3
  EXPECT_GT(most / least, 2);
}

TEST_F(Synth, AnErrorLeavesNothingBehind) {
  EXPECT_THROW(synthesize(pool_, tiny_config("llama"), dir_, {.tokenizer = dir_ / "none"}), Error);
  EXPECT_FALSE(fs::exists(dir_));
  fs::create_directory(dir_);
  write_file(dir_ / "mine", "x");
  EXPECT_THROW(synthesize(pool_, tiny_config("llama"), dir_), Error);
  EXPECT_THROW(synthesize(pool_, tiny_config("llama"), dir_ / "mine"), Error);
  EXPECT_EQ(read_text(dir_ / "mine"), "x");
}

}  // namespace
}  // namespace watersic
