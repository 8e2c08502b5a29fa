// A model read from a folder and from a .wsic file: the same model.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "base/rng.h"
#include "coding/enc_tensor.h"
#include "container/common_texts.h"
#include "container/write_container.h"
#include "runtime/container_source.h"
#include "runtime/open_model.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

QuantizedTensor random_tensor(int64_t rows, int64_t cols, uint64_t seed) {
  Rng rng(seed);
  QuantizedTensor tensor{.rows = rows, .cols = cols, .dead = {3, 10}};
  tensor.codes = Matrix<int32_t>(rows, cols - 2);
  for (int32_t& z : tensor.codes.values()) z = static_cast<int32_t>(std::lround(2 * rng.normal()));
  const auto scales = [&rng](int64_t count) {
    Scales out{.exponent = -5};
    for (int64_t i = 0; i < count; ++i)
      out.half.push_back(half_from_float(static_cast<float>(1 + rng.uniform())));
    return out;
  };
  tensor.row_scale = scales(rows);
  tensor.column_scale = scales(cols - 2);
  return tensor;
}

// A small checkpoint, and a file that holds its linear layers as random quantized tensors.
class Runtime : public testing::Test {
 protected:
  Runtime() : folder_("runtime"), pool_(2) {
    write_small_checkpoint(pool_, folder_ / "model");
    config_ = load_config(folder_ / "model");
    const auto checkpoint = open_model(folder_ / "model", pool_);
    ContainerWriter writer(folder_ / "model.wsic");
    for (const char* name : kCarriedTexts)
      if (const auto text = checkpoint->text(name)) writer.add_text(name, *text);
    for (const ModelTensor& tensor : model_tensors(config_)) {
      const auto [rows, cols] = tensor.shape;
      if (tensor.name.ends_with("proj.weight") || tensor.name == kEmbedding) {
        quantized_[tensor.name] = random_tensor(rows, cols, quantized_.size());
        writer.add_quantized(tensor.name, rows, cols,
                             encode_tensor(quantized_[tensor.name], pool_));
        continue;
      }
      const Matrix<float> values = checkpoint->weights().matrix(tensor.name);
      const bool half = tensor.is_vector;
      std::vector<uint16_t> kept;
      for (const float x : values.values())
        kept.push_back(half ? half_from_float(x) : bf16_from_float(x));
      writer.add_raw(tensor.name, half ? SectionKind::kF16 : SectionKind::kBf16,
                     half ? std::vector<int64_t>{cols} : std::vector<int64_t>{rows, cols}, kept);
    }
    writer.finish("test", Json::object());
  }

  // The same file with a basis of these axes, in multiples of 1/4.
  std::filesystem::path with_basis(const Matrix<int32_t>& axes) {
    const ContainerReader reader(folder_ / "model.wsic");
    const std::filesystem::path path = folder_ / "basis.wsic";
    ContainerWriter writer(path);
    for (const Section& section : reader.sections()) {
      if (section.name == kManifestName) continue;
      if (section.kind == SectionKind::kText) {
        writer.add_text(section.name, reader.text(section.name));
      } else if (section.kind == SectionKind::kQuantized) {
        writer.add_quantized(section.name, section.rows(), section.cols(), reader.bytes(section));
      } else {
        writer.add_raw(section.name, section.kind, section.shape, reader.raw(section.name));
      }
    }
    QuantizedTensor tensor{.rows = axes.rows(), .cols = axes.cols(), .codes = axes};
    tensor.column_scale.half = {half_from_float(0.25F)};
    writer.add_quantized(kBasisName, axes.rows(), axes.cols(), encode_tensor(tensor, pool_));
    writer.finish("test", Json::object());
    return path;
  }

  TestFolder folder_;
  ThreadPool pool_;
  ModelConfig config_;
  std::map<std::string, QuantizedTensor> quantized_;
};

TEST_F(Runtime, TensorsAreThoseOfTheFile) {
  const ContainerReader reader(folder_ / "model.wsic");
  const ContainerSource source(reader, pool_);
  const auto checkpoint = open_model(folder_ / "model", pool_);
  EXPECT_EQ(source.names().size(), model_tensors(config_).size());
  for (const ModelTensor& tensor : model_tensors(config_)) {
    ASSERT_TRUE(source.has(tensor.name)) << tensor.name;
    EXPECT_EQ(source.shape(tensor.name), tensor.shape) << tensor.name;
    const Matrix<float> found = source.matrix(tensor.name);
    Matrix<float> expected;
    if (quantized_.contains(tensor.name)) {
      expected = dequantize(quantized_[tensor.name]);
    } else {
      expected = checkpoint->weights().matrix(tensor.name);
      if (tensor.is_vector)
        for (float& x : expected.values()) x = float_from_half(half_from_float(x));
    }
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.values().size(); ++i)
      ASSERT_EQ(found.values()[i], expected.values()[i]) << tensor.name << " at " << i;
  }
}

// Axes that are those of the stream in another order, and twice as long: the ends are permuted.
TEST_F(Runtime, ABasisTurnsTheEnds) {
  const int64_t n = config_.hidden;
  Matrix<int32_t> axes(n, n);
  for (int64_t i = 0; i < n; ++i) axes(i, (i + 5) % n) = 8;
  const auto plain = open_model(folder_ / "model.wsic", pool_);
  const auto model = open_model(with_basis(axes), pool_);
  ASSERT_TRUE(plain->config().tied_embeddings);
  EXPECT_FALSE(model->config().tied_embeddings);
  EXPECT_FALSE(Json::parse(*model->text("config.json"))["tie_word_embeddings"].get<bool>());
  EXPECT_NO_THROW(check_tensors(model->config(), model->weights()));
  const Matrix<float> E = plain->weights().matrix(kEmbedding),
                      turned = model->weights().matrix(kEmbedding),
                      head = model->weights().matrix(kHead);
  const std::vector<float> gain = plain->weights().vector(kFinalNorm);
  for (int64_t v = 0; v < E.rows(); v += 97) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t from = (i + 5) % n;
      EXPECT_FLOAT_EQ(turned(v, i), E(v, from));
      EXPECT_FLOAT_EQ(head(v, i), E(v, from) * gain[static_cast<size_t>(from)]);
    }
  }
  for (const float one : model->weights().vector(kFinalNorm)) EXPECT_EQ(one, 1);
  const std::string block = "model.layers.0.mlp.down_proj.weight";
  EXPECT_TRUE(std::ranges::equal(model->weights().matrix(block).values(),
                                 plain->weights().matrix(block).values()));
}

TEST_F(Runtime, ABasisThatIsNoneIsRefused) {
  const int64_t n = config_.hidden;
  const auto error = [&](const Matrix<int32_t>& axes) -> std::string {
    try {
      open_model(with_basis(axes), pool_);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  };
  Matrix<int32_t> small(n, n / 2), twice(n, n);
  for (int64_t i = 0; i < n / 2; ++i) small(i, i) = 4;
  for (int64_t i = 0; i < n; ++i) twice(i, i / 2) = 4;
  EXPECT_NE(error(small).find("'basis': expected 128 x 128"), std::string::npos) << error(small);
  EXPECT_NE(error(twice).find("'basis'"), std::string::npos) << error(twice);
}

TEST_F(Runtime, RowsAreThoseOfTheMatrix) {
  const ContainerReader reader(folder_ / "model.wsic");
  const ContainerSource source(reader, pool_);
  const char* const k_proj = "model.layers.1.self_attn.k_proj.weight";
  // In turns: a matrix that stays decoded is not taken for another.
  for (const char* name : {kEmbedding, k_proj, kEmbedding}) {
    const Matrix<float> all = source.matrix(name);
    const std::vector<int32_t> wanted{5, 0, 63, 5};
    const Matrix<float> some = source.rows(name, wanted);
    ASSERT_EQ(some.rows(), 4);
    for (int64_t i = 0; i < some.rows(); ++i)
      for (int64_t j = 0; j < some.cols(); ++j)
        EXPECT_EQ(some(i, j), all(wanted[static_cast<size_t>(i)], j));
    EXPECT_THROW(source.rows(name, {-1}), Error);
    EXPECT_THROW(source.rows(name, {4096}), Error);
  }
}

TEST_F(Runtime, WhatIsNoTensorIsNamed) {
  const ContainerReader reader(folder_ / "model.wsic");
  const ContainerSource source(reader, pool_);
  EXPECT_FALSE(source.has("lm_head.weight"));
  EXPECT_FALSE(source.has("config.json"));
  for (const char* name : {"lm_head.weight", "config.json"}) {
    try {
      source.matrix(name);
      FAIL() << name;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("model.wsic"), std::string::npos) << e.what();
    }
  }
}

TEST_F(Runtime, AnInfinityIsReportedWithItsTensor) {
  {
    ContainerWriter writer(folder_ / "infinite.wsic");
    writer.add_text("config.json", small_config().dump());
    writer.add_raw("x", SectionKind::kBf16, {2}, std::vector<uint16_t>{0x3F80, 0x7F80});
    writer.finish("test", Json::object());
  }
  const ContainerReader reader(folder_ / "infinite.wsic");
  const ContainerSource source(reader, pool_);
  try {
    source.matrix("x");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("tensor 'x'"), std::string::npos) << e.what();
  }
}

TEST_F(Runtime, FolderAndFileAgree) {
  const auto folder = open_model(folder_ / "model", pool_),
             file = open_model(folder_ / "model.wsic", pool_);
  const ModelConfig &a = folder->config(), &b = file->config();
  EXPECT_EQ(a.architecture, b.architecture);
  EXPECT_EQ(a.blocks, b.blocks);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.vocabulary, b.vocabulary);
  EXPECT_EQ(a.max_positions, b.max_positions);
  EXPECT_EQ(a.rope.theta, b.rope.theta);
  EXPECT_EQ(a.bos, b.bos);
  EXPECT_EQ(a.eos, b.eos);
  for (const char* name : kCarriedTexts) EXPECT_EQ(folder->text(name), file->text(name)) << name;
  const std::string text = "It was the best of times,\n it was the worst of times.";
  EXPECT_EQ(folder->tokenizer().encode(text), file->tokenizer().encode(text));
  EXPECT_EQ(folder->model_id(), open_model(folder_ / "model", pool_)->model_id());
  EXPECT_NE(folder->model_id(), file->model_id());
}

TEST_F(Runtime, WhatIsNoModelIsAnError) {
  EXPECT_THROW(open_model(folder_ / "absent", pool_), Error);
  EXPECT_THROW(open_model(folder_.path(), pool_), Error);  // a folder without a model
  write_file(folder_ / "text.wsic", "not a container");
  EXPECT_THROW(open_model(folder_ / "text.wsic", pool_), Error);
  std::filesystem::remove(folder_ / "model/tokenizer.json");
  const auto model = open_model(folder_ / "model", pool_);
  EXPECT_THROW(model->tokenizer(), Error);
}

TEST_F(Runtime, AMissingTensorIsFoundWhenTheFileIsOpened) {
  {
    ContainerWriter writer(folder_ / "part.wsic");
    writer.add_text("config.json", small_config().dump());
    writer.add_raw(kFinalNorm, SectionKind::kBf16, {128}, std::vector<uint16_t>(128, 0x3F80));
    writer.finish("test", Json::object());
  }
  try {
    open_model(folder_ / "part.wsic", pool_);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("model."), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace watersic
