#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "io/atomic_file.h"
#include "support/test_folder.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

class CheckpointFolder : public ::testing::Test {
 protected:
  // A shard whose tensors are all [value, value].
  void shard(const std::string& file, const std::vector<std::string>& names, float value) const {
    std::vector<TensorSpec> tensors;
    tensors.reserve(names.size());
    for (const auto& name : names) tensors.push_back({.name = name, .dtype = "F16", .shape = {2}});
    SafetensorsWriter writer(dir_ / file, tensors);
    for (size_t i = 0; i < names.size(); ++i) writer.write(std::vector<float>{value, value});
    writer.commit();
  }
  void index(const std::string& map) const {
    write_file(dir_ / "model.safetensors.index.json", R"({"weight_map": {)" + map + "}}");
  }
  std::string error() const {
    try {
      const CheckpointSource source(dir_);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  }

  TestFolder folder_{"checkpoint"};
  const fs::path dir_ = folder_.path();
};

TEST_F(CheckpointFolder, ShardsAreFoundThroughTheIndex) {
  shard("a.safetensors", {"x", "y"}, 1);
  shard("b.safetensors", {"z"}, 2);
  shard("consolidated.safetensors", {"x", "y", "z"}, 3);  // as some checkpoints have it, too
  index(R"("x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors")");
  const CheckpointSource source(dir_);
  EXPECT_EQ(source.files(),
            (std::vector<fs::path>{dir_ / "a.safetensors", dir_ / "b.safetensors"}));
  EXPECT_EQ(source.names(), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_EQ(source.matrix("z")(0, 1), 2);
  EXPECT_EQ(source.vector("y"), (std::vector<float>{1, 1}));
  EXPECT_EQ(source.rows("z", {0, 0}).rows(), 2);
  EXPECT_EQ(source.shape("x"), (WeightSource::Shape{.rows = 1, .cols = 2}));
  EXPECT_FALSE(source.has("w"));
  EXPECT_THROW(source.matrix("w"), Error);
}

TEST_F(CheckpointFolder, WhatIsMissingOrTwiceThereIsNamed) {
  EXPECT_NE(error().find("found neither"), std::string::npos);
  index(R"("x": "a.safetensors")");
  EXPECT_NE(error().find("a.safetensors: found no such file, which model.safetensors.index.json "
                         "names for tensor 'x'"),
            std::string::npos);
  shard("a.safetensors", {"y"}, 1);
  EXPECT_NE(error().find("a.safetensors: expected tensor 'x'"), std::string::npos);
  shard("a.safetensors", {"x", "y"}, 1);
  EXPECT_EQ(error(), "(no error)");
  shard("b.safetensors", {"x", "z"}, 1);
  index(R"("x": "a.safetensors", "z": "b.safetensors")");
  EXPECT_NE(error().find("b.safetensors: tensor 'x': is also in a.safetensors"), std::string::npos);
  index(R"("x": "../a.safetensors")");
  EXPECT_NE(error().find("in the same folder"), std::string::npos);
}

}  // namespace
}  // namespace watersic
