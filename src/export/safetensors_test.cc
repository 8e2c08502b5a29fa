#include "export/safetensors.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/half.h"
#include "checkpoint/checkpoint.h"
#include "support/small_checkpoint.h"
#include "support/test_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

TEST(Export, EveryTensorIsThereInTheTypeAskedFor) {
  for (const std::string& kind : tiny_kinds()) {
    for (const ExportType type : {ExportType::kBF16, ExportType::kF16, ExportType::kF32}) {
      const TestFolder folder("export");
      const InMemory model(kind);
      write_safetensors(model, folder / "out", type, {});
      const auto round = [type](float x) {
        if (type == ExportType::kF32) return x;
        return type == ExportType::kF16 ? float_from_half(half_from_float(x))
                                        : float_from_bf16(bf16_from_float(x));
      };
      ThreadPool pool(1);
      const auto back = open_model(folder / "out", pool);
      EXPECT_EQ(back->weights().names().size(), model.weights().names().size());
      for (const std::string& name : model.weights().names()) {
        const Matrix<float> expected = model.weights().matrix(name),
                            found = back->weights().matrix(name);
        ASSERT_EQ(found.size(), expected.size()) << name;
        for (size_t i = 0; i < found.values().size(); ++i)
          ASSERT_EQ(found.values()[i], round(expected.values()[i])) << name;
        EXPECT_EQ(CheckpointSource(folder / "out").dtype(name), type == ExportType::kF16 ? "F16"
                                                                : type == ExportType::kF32
                                                                    ? "F32"
                                                                    : "BF16");
      }
      EXPECT_EQ(back->text("chat_template.jinja"), "{{ messages }}");
    }
  }
}

TEST(Export, TheConfigurationTellsTheTruthOfTheType) {
  const TestFolder folder("export");
  InMemory model("llama");
  model.json()["torch_dtype"] = "float32";
  write_safetensors(model, folder / "old", ExportType::kBF16, {});
  EXPECT_EQ(read_json(folder / "old/config.json")["torch_dtype"], "bfloat16");
  model.json().erase("torch_dtype");
  model.json()["dtype"] = "float32";
  write_safetensors(model, folder / "new", ExportType::kF16, {});
  const Json json = read_json(folder / "new/config.json");
  EXPECT_EQ(json["dtype"], "float16");
  EXPECT_FALSE(json.contains("torch_dtype"));
  EXPECT_EQ(json["hidden_size"], 32);
}

TEST(Export, BlocksOfBytesAreNotForSafetensors) {
  const TestFolder folder("export");
  EXPECT_THROW(write_safetensors(InMemory("llama"), folder / "out", ExportType::kQ8_0, {}), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Export, WhatAHalfCannotHoldIsAnErrorAndNothingIsLeft) {
  const TestFolder folder("export");
  InMemory model("qwen2");
  Matrix<float> norm = model.weights().matrix(kFinalNorm);
  norm(0, 3) = 70000;
  model.source().set(kFinalNorm, norm);
  try {
    write_safetensors(model, folder / "out", ExportType::kF16, {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(kFinalNorm), std::string::npos) << e.what();
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  write_safetensors(model, folder / "out", ExportType::kBF16, {});
  EXPECT_THROW(write_safetensors(model, folder / "out", ExportType::kBF16, {}), Error);
}

}  // namespace
}  // namespace watersic
