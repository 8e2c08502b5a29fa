// Models to GGUF and back: the same model.
#include "export/gguf.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/half.h"
#include "checkpoint/open_checkpoint.h"
#include "container/common_texts.h"
#include "export/safetensors.h"
#include "io/gguf.h"
#include "model/forward.h"
#include "support/small_checkpoint.h"
#include "support/test_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

Matrix<float> logits_of(const OpenModel& model, ThreadPool& pool) {
  const auto windows = random_windows(model.config(), 2, 40, 3);
  return OutputHead(model.config(), model.weights())
      .logits(pool, forward_all(pool, model.config(), model.weights(), windows));
}

std::string error_of(const InMemory& model, ExportType type, const std::string& pre = "") {
  const TestFolder folder("gguf-error");
  try {
    write_gguf(model, folder / "m.gguf", type, pre, {});
  } catch (const Error& e) {
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
    return e.what();
  }
  return "none";
}

TEST(ExportGguf, InFloat32TheModelIsTheSame) {
  ThreadPool pool(1);
  for (const std::string& kind : tiny_kinds()) {
    const TestFolder folder("gguf-export");
    const InMemory model(kind);
    write_gguf(model, folder / "m.gguf", ExportType::kF32, "", {});
    const auto back = open_model(folder / "m.gguf", pool);
    for (const std::string& name : model.weights().names()) {
      const Matrix<float> expected = model.weights().matrix(name),
                          found = back->weights().matrix(name);
      ASSERT_EQ(found.size(), expected.size()) << name;
      ASSERT_TRUE(
          std::equal(expected.values().begin(), expected.values().end(), found.values().begin()))
          << name;
      // Some rows are those of all.
      const auto last = static_cast<int32_t>(expected.rows() - 1);
      const Matrix<float> some = back->weights().rows(name, {last, 0});
      for (int64_t j = 0; j < some.cols(); ++j) {
        EXPECT_EQ(some(0, j), expected(last, j)) << name;
        EXPECT_EQ(some(1, j), expected(0, j)) << name;
      }
      EXPECT_THROW(back->weights().rows(name, {last + 1}), Error);
    }
    EXPECT_THROW(back->weights().matrix("none"), Error);
    const Matrix<float> expected = logits_of(model, pool), found = logits_of(*back, pool);
    for (size_t i = 0; i < expected.values().size(); ++i)
      ASSERT_EQ(found.values()[i], expected.values()[i]) << kind;
    EXPECT_EQ(back->config().bos, 45);
    EXPECT_EQ(back->config().eos, std::vector<int32_t>{46});
    EXPECT_EQ(back->tokenizer().encode("the hat"), model.tokenizer().encode("the hat"));
    EXPECT_EQ(back->tokenizer().encode("the hat").front(), 45);
    EXPECT_NE(back->text("tokenizer_config.json")->find("{{ messages }}"), std::string::npos);
    EXPECT_EQ(back->model_id(), open_model(folder / "m.gguf", pool)->model_id());
  }
}

TEST(ExportGguf, EveryTypeRoundsAsItShould) {
  ThreadPool pool(1);
  const TestFolder folder("gguf-types");
  const InMemory model("qwen3");
  for (const ExportType type : {ExportType::kF16, ExportType::kBF16, ExportType::kQ8_0}) {
    write_gguf(model, folder / "m.gguf", type, "", {});
    const auto back = open_checkpoint(folder / "m.gguf");
    const GgufFile file(folder / "m.gguf");
    EXPECT_EQ(file.metadata()["general.file_type"], type == ExportType::kF16    ? 1
                                                    : type == ExportType::kBF16 ? 32
                                                                                : 7);
    for (const ModelTensor& tensor : model_tensors(model.config())) {
      const Matrix<float> expected = model.weights().matrix(tensor.name),
                          found = back->weights().matrix(tensor.name);
      std::string dtype = tensor.is_vector ? "F32" : type == ExportType::kBF16 ? "BF16" : "F16";
      if (type == ExportType::kQ8_0 && !tensor.is_vector && tensor.shape.cols % 32 == 0)
        dtype = "Q8_0";
      EXPECT_EQ(back->dtype(tensor.name), dtype) << tensor.name;
      for (size_t i = 0; i < expected.values().size(); ++i) {
        const float x = expected.values()[i];
        if (dtype == "Q8_0") {
          ASSERT_NEAR(found.values()[i], x, 0.05) << tensor.name;  // weights are below 10
        } else {
          ASSERT_EQ(found.values()[i], dtype == "F32"    ? x
                                       : dtype == "BF16" ? float_from_bf16(bf16_from_float(x))
                                                         : float_from_half(half_from_float(x)))
              << tensor.name;
        }
      }
    }
  }
  // 48 inputs are no multiple of 32.
  EXPECT_EQ(open_checkpoint(folder / "m.gguf")->dtype("model.layers.0.mlp.down_proj.weight"),
            "F16");
}

// A GGUF file as a Hugging Face folder, and that folder as a GGUF file: the same again.
TEST(ExportGguf, ThereAndBackByAFolder) {
  ThreadPool pool(1);
  const TestFolder folder("gguf-folder");
  for (const std::string& kind : tiny_kinds()) {
    const InMemory model(kind);
    const auto path = [&](const char* name) { return folder / (kind + name); };
    write_gguf(model, path(".gguf"), ExportType::kF32, "", {});
    write_safetensors(*open_model(path(".gguf"), pool), path(""), ExportType::kF32, {});
    const auto back = open_model(path(""), pool);
    EXPECT_EQ(back->config().rope.type, model.config().rope.type);
    EXPECT_EQ(back->tokenizer().encode("the hat"), model.tokenizer().encode("the hat"));
    for (const std::string& name : model.weights().names()) {
      const Matrix<float> expected = model.weights().matrix(name),
                          found = back->weights().matrix(name);
      ASSERT_TRUE(std::equal(expected.values().begin(), expected.values().end(),
                             found.values().begin(), found.values().end()))
          << name;
    }
    write_gguf(*back, path("-2.gguf"), ExportType::kF32, "", {});
    Json first = GgufFile(path(".gguf")).metadata(), second = GgufFile(path("-2.gguf")).metadata();
    EXPECT_EQ(first, second) << kind;
  }
}

TEST(ExportGguf, WhatAFileCannotHoldIsAnErrorAndNothingIsLeft) {
  const auto expect = [](const std::string& error, const std::string& part) {
    EXPECT_NE(error.find(part), std::string::npos) << "expected: " << part << "\nfound: " << error;
  };
  InMemory model("qwen2");
  EXPECT_EQ(error_of(model, ExportType::kF16), "none");
  Matrix<float> weights = model.weights().matrix(kEmbedding);
  weights(3, 1) = 70000;
  model.source().set(kEmbedding, weights);
  expect(error_of(model, ExportType::kF16), kEmbedding);
  EXPECT_EQ(error_of(model, ExportType::kBF16), "none");
  EXPECT_EQ(error_of(model, ExportType::kQ8_0), "none");
  weights(3, 1) = 1e7F;
  model.source().set(kEmbedding, weights);
  expect(error_of(model, ExportType::kQ8_0), "Q8_0");

  Json tokenizer = tiny_tokenizer();
  tokenizer["pre_tokenizer"]["add_prefix_space"] = true;
  model.set_tokenizer(tokenizer);
  expect(error_of(model, ExportType::kBF16), "as pre");
  EXPECT_EQ(error_of(model, ExportType::kBF16, "gpt-2"), "none");
  model.set_tokenizer(nullptr);
  expect(error_of(model, ExportType::kBF16), "tokenizer.json");
}

}  // namespace
}  // namespace watersic
