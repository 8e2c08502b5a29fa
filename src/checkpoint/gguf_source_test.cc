// Quantized and split GGUF files as models.
#include "checkpoint/gguf_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "checkpoint/gguf_layout.h"
#include "checkpoint/open_checkpoint.h"
#include "io/gguf_blocks.h"
#include "support/small_checkpoint.h"

namespace watersic {
namespace {

const ModelConfig& small() {
  static const ModelConfig kConfig = parse_config(small_config(), "config.json");
  return kConfig;
}

using Stored = std::map<std::string, std::vector<std::byte>>;

GgufType type_of(size_t i, const ModelTensor& tensor) {
  constexpr std::array kTypes = {GgufType::kQ4_1, GgufType::kQ5_0, GgufType::kMXFP4};
  return tensor.is_vector ? GgufType::kF32 : kTypes[i % kTypes.size()];
}

// Some of the model's tensors: zeros as vectors, blocks of random integers as matrices.
Stored write_some(const std::filesystem::path& path, size_t begin, size_t end,
                  GgufMetadata metadata) {
  const std::vector<ModelTensor> tensors = model_tensors(small());
  std::vector<GgufTensorSpec> specs;
  for (size_t i = begin; i < std::min(end, tensors.size()); ++i)
    specs.push_back({.name = gguf_name(tensors[i].name),
                     .type = type_of(i, tensors[i]),
                     .rows = tensors[i].shape.rows,
                     .cols = tensors[i].shape.cols,
                     .is_vector = tensors[i].is_vector});
  GgufWriter writer(path, metadata, specs);
  Stored stored;
  for (size_t i = 0; i < specs.size(); ++i) {
    const GgufTensorSpec& spec = specs[i];
    std::vector<std::byte> bytes(static_cast<size_t>(spec.rows) * row_bytes(spec.type, spec.cols));
    if (!spec.is_vector) {
      Rng rng(begin + i);
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.below(256));
      for (size_t at = 0; at < bytes.size(); at += block_bytes(spec.type)) {
        // Small scales: a half's high byte, or a power of two.
        bytes[at + (spec.type == GgufType::kMXFP4 ? 0 : 1)] =
            std::byte(spec.type == GgufType::kMXFP4 ? 120 : 0x24);
        if (spec.type == GgufType::kQ4_1) bytes[at + 3] = std::byte{0xA8};
      }
    }
    writer.write_stored(bytes);
    stored[tensors[begin + i].name] = std::move(bytes);
  }
  writer.commit();
  return stored;
}

GgufMetadata config_keys() {
  GgufMetadata metadata;
  add_gguf_config(metadata, small(), "test");
  return metadata;
}

TEST(GgufSource, QuantizedWeights) {
  const TestFolder folder("gguf-quantized");
  const Stored stored = write_some(folder / "m.gguf", 0, 1000, config_keys());
  std::vector<ProgressEvent> events;
  const auto checkpoint = open_checkpoint(
      folder / "m.gguf", [&](const ProgressEvent& event) { events.push_back(event); });
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].detail, checkpoint->note());
  EXPECT_NE(checkpoint->note().find("quantized before (MXFP4, Q4_1, Q5_0)"), std::string::npos)
      << checkpoint->note();

  const WeightSource& weights = checkpoint->weights();
  const std::vector<ModelTensor> tensors = model_tensors(small());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const ModelTensor& tensor = tensors[i];
    EXPECT_EQ(checkpoint->dtype(tensor.name), to_string(type_of(i, tensor)));
    EXPECT_FALSE(weights.halves(tensor.name));
    if (tensor.is_vector) continue;
    Matrix<float> expected(tensor.shape.rows, tensor.shape.cols);
    dequantize(type_of(i, tensor), stored.at(tensor.name), expected.values());
    const Matrix<float> found = weights.matrix(tensor.name);
    for (int64_t row = 0; row < found.rows(); ++row) {
      const int64_t place = is_permuted(small(), tensor.name) ? gguf_row(small(), row) : row;
      EXPECT_TRUE(std::ranges::equal(found.row(row), expected.row(place)))
          << tensor.name << ", row " << row;
    }
    const auto some = weights.rows(tensor.name, {5, 2});
    EXPECT_TRUE(std::ranges::equal(some.row(0), found.row(5)));
    EXPECT_TRUE(std::ranges::equal(some.row(1), found.row(2)));
  }
}

TEST(GgufSource, SplitFiles) {
  const TestFolder folder("gguf-split");
  write_some(folder / "m.gguf", 0, 1000, config_keys());
  const auto whole = open_checkpoint(folder / "m.gguf");
  const std::array paths = {folder / "m-00001-of-00002.gguf", folder / "m-00002-of-00002.gguf"};
  for (uint32_t i = 0; i < 2; ++i) {
    GgufMetadata metadata = i == 0 ? config_keys() : GgufMetadata();
    metadata.add_number("split.no", i);
    metadata.add_number("split.count", 2);
    write_some(paths[i], 7 * i, i == 0 ? 7 : 1000, metadata);
  }
  for (const auto& path : paths) {
    const auto parts = open_checkpoint(path);
    EXPECT_EQ(parts->name(), path.string());
    EXPECT_EQ(parts->files(), std::vector(paths.begin(), paths.end()));
    EXPECT_EQ(parts->weights().names(), whole->weights().names());
    for (const std::string& name : parts->weights().names()) {
      EXPECT_EQ(parts->dtype(name), whole->dtype(name));
      EXPECT_TRUE(std::ranges::equal(parts->weights().matrix(name).values(),
                                     whole->weights().matrix(name).values()))
          << name;
    }
  }
}

}  // namespace
}  // namespace watersic
