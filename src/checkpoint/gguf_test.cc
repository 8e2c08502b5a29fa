// GGUF's configuration and layout. Whole models, there and back, are in export/gguf_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/gguf_layout.h"
#include "checkpoint/gguf_source.h"
#include "checkpoint/open_checkpoint.h"
#include "model/rope.h"
#include "support/small_checkpoint.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

ModelConfig config_of(const Json& json) { return parse_config(json, "config.json"); }

// A file with this model's keys and, as all its tensors, zeros.
void write_zeros(const std::filesystem::path& path, const ModelConfig& config,
                 const std::function<void(GgufMetadata&)>& more = {},
                 const std::vector<float>& divisors = {}) {
  GgufMetadata metadata;
  add_gguf_config(metadata, config, "test");
  if (more) more(metadata);
  std::vector<GgufTensorSpec> specs;
  if (!divisors.empty()) {
    specs.push_back({.name = kGgufRopeDivisors,
                     .cols = static_cast<int64_t>(divisors.size()),
                     .is_vector = true});
  }
  for (const ModelTensor& tensor : model_tensors(config)) {
    specs.push_back({.name = gguf_name(tensor.name),
                     .rows = tensor.shape.rows,
                     .cols = tensor.shape.cols,
                     .is_vector = tensor.is_vector});
  }
  GgufWriter writer(path, metadata, specs);
  if (!divisors.empty()) writer.write(divisors);
  for (const ModelTensor& tensor : model_tensors(config))
    writer.write(std::vector<float>(static_cast<size_t>(tensor.shape.rows * tensor.shape.cols)));
  writer.commit();
}

std::string error_of(const std::filesystem::path& path) {
  try {
    open_checkpoint(path);
  } catch (const Error& e) {
    return e.what();
  }
  return "none";
}

TEST(GgufLayout, NamesOfTensors) {
  EXPECT_EQ(gguf_name("model.embed_tokens.weight"), "token_embd.weight");
  EXPECT_EQ(gguf_name("model.layers.31.self_attn.q_proj.weight"), "blk.31.attn_q.weight");
  EXPECT_EQ(gguf_name("model.layers.0.mlp.down_proj.bias"), "blk.0.ffn_down.bias");
  EXPECT_EQ(gguf_name("model.layers.4.self_attn.k_norm.weight"), "blk.4.attn_k_norm.weight");
  EXPECT_THROW(gguf_name("model.layers.4.self_attn.rotary.weight"), Error);
  for (const std::string& kind : tiny_kinds()) {
    const auto tensors = model_tensors(config_of(tiny_config(kind)));
    std::set<std::string> names;
    for (const ModelTensor& tensor : tensors) names.insert(gguf_name(tensor.name));
    EXPECT_EQ(names.size(), tensors.size()) << kind;
  }
}

TEST(GgufLayout, PairsOfARotationBecomeNeighbours) {
  ModelConfig config = config_of(tiny_config("llama"));
  const int64_t half = config.head_dim / 2;
  for (int64_t head = 0; head < config.heads; ++head) {
    for (int64_t i = 0; i < half; ++i) {
      const int64_t first = head * config.head_dim + i;
      EXPECT_EQ(gguf_row(config, first), head * config.head_dim + 2 * i);
      EXPECT_EQ(gguf_row(config, first + half), gguf_row(config, first) + 1);
    }
  }
  EXPECT_TRUE(is_permuted(config, "model.layers.0.self_attn.k_proj.bias"));
  EXPECT_FALSE(is_permuted(config, "model.layers.0.self_attn.v_proj.weight"));
  EXPECT_FALSE(
      is_permuted(config_of(tiny_config("qwen3")), "model.layers.0.self_attn.q_proj.weight"));
}

TEST(GgufConfig, IsThatOfTheModel) {
  const TestFolder folder("gguf-config");
  for (const std::string& kind : tiny_kinds()) {
    const ModelConfig expected = config_of(tiny_config(kind));
    write_zeros(folder / "m.gguf", expected, {}, gguf_rope_divisors(expected));
    const auto checkpoint = open_checkpoint(folder / "m.gguf");
    const ModelConfig& found = checkpoint->config();
    EXPECT_EQ(found.architecture, kind == "mistral" ? "LlamaForCausalLM" : expected.architecture);
    EXPECT_EQ(found.hidden, expected.hidden);
    EXPECT_EQ(found.intermediate, expected.intermediate);
    EXPECT_EQ(found.blocks, expected.blocks);
    EXPECT_EQ(found.heads, expected.heads);
    EXPECT_EQ(found.kv_heads, expected.kv_heads);
    EXPECT_EQ(found.head_dim, expected.head_dim);
    EXPECT_EQ(found.vocabulary, expected.vocabulary);
    EXPECT_EQ(found.max_positions, expected.max_positions);
    EXPECT_EQ(found.norm_epsilon, expected.norm_epsilon);  // exactly, as written in decimals
    EXPECT_EQ(found.rope.type, expected.rope.type);
    EXPECT_EQ(found.rope.theta, expected.rope.theta);
    EXPECT_EQ(found.rope.factor, expected.rope.factor);
    EXPECT_EQ(found.tied_embeddings, expected.tied_embeddings);
    EXPECT_EQ(found.qkv_bias, expected.qkv_bias);
    EXPECT_EQ(found.o_bias, expected.o_bias);
    EXPECT_EQ(found.mlp_bias, expected.mlp_bias);
    EXPECT_EQ(found.qk_norm, expected.qk_norm);
    EXPECT_EQ(checkpoint->dtype(kEmbedding), "F32");
    EXPECT_EQ(checkpoint->text("tokenizer.json"), std::nullopt);
    EXPECT_THROW(checkpoint->tokenizer(), Error);
    EXPECT_EQ(checkpoint->files().size(), 1U);
  }
}

// Llama 3's scaling comes back from the divisors that it makes.
TEST(GgufConfig, RotaryScalingIsFoundFromItsDivisors) {
  const TestFolder folder("gguf-rope");
  struct Case {
    double theta, factor, low, high, original;
    int64_t head_dim;
    bool exact;  // the parameters themselves, not only what they do
  };
  for (const Case& c : {Case{5e5, 8, 1, 4, 8192, 128, true},  // Llama 3.1
                        Case{5e5, 32, 1, 4, 8192, 64, true},  // Llama 3.2 1B
                        Case{5e5, 16, 1, 3, 4096, 128, true}, Case{5e5, 16, 2, 6, 8192, 128, false},
                        Case{1e4, 8, 1, 4, 256, 16, true},           // one pair between
                        Case{1e4, 8, 1, 1.0001, 256, 16, false}}) {  // none
    Json json = tiny_config("llama");
    json["head_dim"] = c.head_dim;
    json["rope_theta"] = c.theta;
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", c.factor},
                            {"low_freq_factor", c.low},
                            {"high_freq_factor", c.high},
                            {"original_max_position_embeddings", c.original}};
    const ModelConfig expected = config_of(json);
    write_zeros(folder / "m.gguf", expected, {}, gguf_rope_divisors(expected));
    const ModelConfig found = open_checkpoint(folder / "m.gguf")->config();
    ASSERT_EQ(found.rope.type, RopeConfig::Type::kLlama3);
    EXPECT_EQ(found.rope.factor, c.factor);
    if (c.exact) {
      EXPECT_EQ(found.rope.high_frequency_factor / found.rope.low_frequency_factor, c.high / c.low);
      EXPECT_EQ(found.rope.original_max_positions / found.rope.low_frequency_factor,
                c.original / c.low);
    }
    const auto a = rope_frequencies(expected.rope, c.head_dim),
               b = rope_frequencies(found.rope, c.head_dim);
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(b[i], a[i], 1e-4 * a[i]) << i;
  }
  // All ones are no scaling; others are an error.
  Json json = tiny_config("llama");
  json.erase("rope_scaling");
  const ModelConfig plain = config_of(json);
  write_zeros(folder / "m.gguf", plain, {}, std::vector<float>(8, 1));
  EXPECT_EQ(open_checkpoint(folder / "m.gguf")->config().rope.type, RopeConfig::Type::kDefault);
  for (const std::vector<float>& divisors :
       {std::vector<float>{1, 2, 1, 2, 1, 2, 1, 2}, std::vector<float>(8, -1),
        std::vector<float>(8, 0), std::vector<float>(7, 1),
        std::vector<float>{8, 8, 8, 8, 1, 1, 1, 1}}) {
    write_zeros(folder / "m.gguf", plain, {}, divisors);
    EXPECT_NE(error_of(folder / "m.gguf").find(kGgufRopeDivisors), std::string::npos)
        << error_of(folder / "m.gguf");
  }
}

TEST(GgufConfig, WhatIsNotImplementedIsNamed) {
  const TestFolder folder("gguf-errors");
  const auto path = folder / "m.gguf";
  const ModelConfig llama = config_of(small_config());
  const auto expect = [&](const std::function<void(GgufMetadata&)>& more, const std::string& part) {
    write_zeros(path, llama, more);
    EXPECT_NE(error_of(path).find(part), std::string::npos)
        << part << "\nfound: " << error_of(path);
  };
  write_zeros(path, llama);
  EXPECT_EQ(error_of(path), "none");
  expect([](auto& m) { m.add_number("llama.expert_count", 8); }, "llama.expert_count");
  expect([](auto& m) { m.add_text("llama.rope.scaling.type", "yarn"); }, "llama.rope.scaling.type");
  expect([](auto& m) { m.add_real("llama.logit_scale", 2); }, "llama.logit_scale");
  expect([](auto& m) { m.add_number("llama.attention.sliding_window", 64); }, "sliding_window");
  expect([](auto& m) { m.add_flag("llama.attention.causal", false); }, "llama.attention.causal");
  expect([](auto& m) { m.add_number("tokenizer.ggml.bos_token_id", 4096); }, "below 4096");
  expect([](auto& m) { m.add_number("llama.block_count", 2); }, "once");

  // Tensors that the keys do not speak of, and the other way round.
  ModelConfig more = llama;
  more.blocks = 3;
  GgufMetadata metadata;
  add_gguf_config(metadata, more, "test");
  {
    GgufWriter writer(path, metadata, {{.name = "token_embd.weight", .rows = 4096, .cols = 128}});
    writer.write(std::vector<float>(size_t{4096} * 128));
    writer.commit();
  }
  EXPECT_NE(error_of(path).find("model.layers.0"), std::string::npos) << error_of(path);
  GgufMetadata other;
  other.add_text("general.architecture", "gemma3");
  {
    GgufWriter writer(path, other, {{.name = "token_embd.weight", .rows = 4, .cols = 4}});
    writer.write(std::vector<float>(16));
    writer.commit();
  }
  EXPECT_NE(error_of(path).find("llama, qwen2 or qwen3"), std::string::npos) << error_of(path);
  write_file(path, "neither");
  EXPECT_NE(error_of(path).find("folder or a GGUF file"), std::string::npos) << error_of(path);
  EXPECT_NE(error_of(folder / "absent"), "none");

  Json json = tiny_config("qwen3");
  json["attention_bias"] = true;
  metadata = {};
  EXPECT_THROW(add_gguf_config(metadata, config_of(json), "test"), Error);
  json = tiny_config("qwen2");
  json["rope_scaling"] = tiny_config("llama")["rope_scaling"];
  EXPECT_THROW(add_gguf_config(metadata, config_of(json), "test"), Error);
}

// A Hugging Face folder through the same door.
TEST(OpenCheckpoint, AFolder) {
  const TestFolder folder("open-checkpoint");
  ThreadPool pool(1);
  write_small_checkpoint(pool, folder / "model");
  const auto checkpoint = open_checkpoint(folder / "model");
  EXPECT_EQ(checkpoint->config().blocks, 2);
  EXPECT_EQ(checkpoint->dtype(kEmbedding), "BF16");
  EXPECT_EQ(checkpoint->files().size(), 2U);  // config.json, model.safetensors
  EXPECT_TRUE(checkpoint->text("config.json"));
  EXPECT_FALSE(checkpoint->text("chat_template.jinja"));
  EXPECT_EQ(checkpoint->tokenizer().encode("").size(), 1U);
  EXPECT_EQ(checkpoint->weights().names().size(), model_tensors(checkpoint->config()).size());
  EXPECT_NE(error_of(folder.path()), "none");
}

}  // namespace
}  // namespace watersic
