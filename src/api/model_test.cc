// A small model through the public API: quantized, looked at, exported, sampled.
#include "watersic/model.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "io/json.h"
#include "io/text.h"
#include "runtime/open_model.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"
#include "watersic/quantize.h"

namespace watersic {
namespace {

class ModelApi : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("api");
    ThreadPool pool;
    write_small_checkpoint(pool, *folder_ / "model");
    QuantizeOptions options;
    options.bits = 3;
    options.calibration.samples = 4;
    options.trellis = 8;  // with the next, a tenth of the time
    options.coder = Coder::kPooled;
    options.model.mixing_steps = 0;
    report_ = quantize_model(file("model"), file("model.wsic"), options);
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::filesystem::path file(const std::string& name) { return *folder_ / name; }

  static TestFolder* folder_;
  static QuantizeReport report_;
};
TestFolder* ModelApi::folder_ = nullptr;
QuantizeReport ModelApi::report_;

TEST_F(ModelApi, InspectionAgreesWithTheReport) {
  const Inspection i = inspect(file("model.wsic"));
  EXPECT_EQ(i.model_id, report_.model_id);
  EXPECT_EQ(i.architecture, "LlamaForCausalLM");
  EXPECT_EQ(i.method, "watersic");
  EXPECT_EQ(i.file_bytes, report_.file_bytes);
  EXPECT_EQ(i.quantized_weights, report_.quantized_weights);
  EXPECT_EQ(i.kept_bytes, report_.kept_bytes);
  EXPECT_NEAR(i.bits, report_.bits.file, 1e-9);
  size_t quantized = 0;
  int64_t bytes = i.text_bytes;
  for (const Inspection::Tensor& tensor : i.tensors) {
    bytes += tensor.bytes;
    if (tensor.kind != "quantized") continue;
    const LayerReport& layer =
        tensor.name == kEmbedding ? report_.embeddings.at(0) : report_.layers.at(quantized++);
    EXPECT_EQ(tensor.name, layer.name);
    EXPECT_DOUBLE_EQ(tensor.bits, layer.bits.file);
    EXPECT_DOUBLE_EQ(tensor.coded_bits, layer.bits.coded);
    EXPECT_EQ(tensor.dead, layer.dead);
  }
  EXPECT_EQ(quantized, report_.layers.size());
  // All of the file but its header, of less than a hundred bytes.
  EXPECT_LE(i.file_bytes - bytes, 100);
  EXPECT_GE(i.file_bytes, bytes);
  const Json json = Json::parse(to_json(i));
  EXPECT_EQ(json["options"]["bits"], 3.0);
  EXPECT_EQ(json["tensors"].size(), i.tensors.size());
  EXPECT_NE(to_text(i).find("model.layers.1.mlp.down_proj.weight"), std::string::npos);
}

TEST_F(ModelApi, ExportedWeightsAreTheDequantizedOnesRounded) {
  export_safetensors(file("model.wsic"), file("exported"), ExportType::kBF16);
  ThreadPool pool;
  const auto original = open_model(file("model.wsic"), pool),
             exported = open_model(file("exported"), pool);
  for (const ModelTensor& tensor : model_tensors(original->config())) {
    const Matrix<float> expected = original->weights().matrix(tensor.name),
                        found = exported->weights().matrix(tensor.name);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.values().size(); ++i)
      ASSERT_EQ(found.values()[i], float_from_bf16(bf16_from_float(expected.values()[i])))
          << tensor.name;
  }
  EXPECT_EQ(exported->text("tokenizer.json"), original->text("tokenizer.json"));
}

TEST_F(ModelApi, DamageIsFoundEverywhere) {
  verify(file("model.wsic"));
  std::ifstream in(file("model.wsic"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  for (const double at : {0.0, 0.001, 0.1, 0.5, 0.9, 0.9999}) {
    std::string damaged = bytes;
    damaged[static_cast<size_t>(at * static_cast<double>(bytes.size()))] ^= 0x10;
    std::ofstream(file("damaged.wsic"), std::ios::binary) << damaged;
    EXPECT_THROW(verify(file("damaged.wsic")), Error) << at;
    std::ofstream(file("short.wsic"), std::ios::binary)
        << bytes.substr(0, static_cast<size_t>(at * static_cast<double>(bytes.size())));
    EXPECT_THROW(inspect(file("short.wsic")), Error) << at;
  }
}

TEST_F(ModelApi, SamplesAreReproducibleText) {
  const std::string text = sample_text(file("model.wsic"), 300, 5, 2);
  EXPECT_EQ(text, sample_text(file("model.wsic"), 300, 5, 1));
  EXPECT_NE(text, sample_text(file("model.wsic"), 300, 6, 1));
  EXPECT_EQ(find_invalid_utf8(text), std::string::npos);
  // Three sequences of the model's context of 128, less BOS.
  EXPECT_GT(text.size(), 300U);
}

TEST_F(ModelApi, TokenizesWithAndWithoutSpecialTokens) {
  const std::vector<int32_t> with = tokenize(file("model"), "Call me Ishmael."),
                             without = tokenize(file("model.wsic"), "Call me Ishmael.", false);
  ASSERT_FALSE(with.empty());
  EXPECT_EQ(with.front(), 4094);
  EXPECT_EQ(std::vector<int32_t>(with.begin() + 1, with.end()), without);
}

}  // namespace
}  // namespace watersic
