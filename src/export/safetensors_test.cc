#include "export/safetensors.h"

#include <gtest/gtest.h>

#include "base/half.h"
#include "model/checkpoint.h"
#include "model/small_checkpoint.h"
#include "model/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A model in memory, with float32 weights that no 16 bits hold.
class InMemory : public OpenModel {
 public:
  explicit InMemory(const std::string& kind) : json_(tiny_config(kind)) {
    name_ = kind;
    config_ = parse_config(json_, "config.json");
    source_ = random_model(config_, 1);
  }
  const WeightSource& weights() const override { return source_; }
  MemorySource& source() { return source_; }
  Json& json() { return json_; }
  std::optional<std::string> text(const std::string& file) const override {
    if (file == "config.json") return json_.dump();
    if (file == "chat_template.jinja") return "{{ messages }}";
    return {};
  }
  std::string model_id() const override { return "test"; }

 private:
  Json json_;
  MemorySource source_;
};

TEST(Export, EveryTensorIsThereInTheTypeAskedFor) {
  for (const std::string& kind : tiny_kinds()) {
    for (const ExportType type : {ExportType::kBF16, ExportType::kF16}) {
      const TestFolder folder("export");
      const InMemory model(kind);
      write_safetensors(model, folder / "out", type, {});
      const auto round = [type](float x) {
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
        EXPECT_EQ(CheckpointSource(folder / "out").dtype(name),
                  type == ExportType::kF16 ? "F16" : "BF16");
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
