#include "model/config.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "model/memory_source.h"
#include "support/error_of.h"
#include "watersic/error.h"

namespace watersic {
namespace {

Json llama() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "bos_token_id": 1, "eos_token_id": [2, 3]})");
}
Json with(Json json, const std::string& changes) {
  json.merge_patch(Json::parse(changes));
  return json;
}
ModelConfig parse(const Json& json) { return parse_config(json, "config.json"); }

void expect_error(const Json& json, const std::string& part) {
  const std::string error = error_of([&] { parse(json); });
  EXPECT_NE(error.find(part), std::string::npos) << "expected: " << part << "\nfound: " << error;
}

TEST(Config, Llama) {
  const ModelConfig config = parse(llama());
  EXPECT_EQ(config.architecture, "LlamaForCausalLM");
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.kv_size(), 32);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_EQ(config.rope.theta, 500000);
  EXPECT_EQ(config.rope.type, RopeConfig::Type::kDefault);
  EXPECT_FALSE(config.tied_embeddings || config.qkv_bias || config.o_bias || config.mlp_bias ||
               config.qk_norm);
  EXPECT_EQ(config.bos, 1);
  EXPECT_EQ(config.first_token(), 1);
  EXPECT_EQ(config.eos, (std::vector<int32_t>{2, 3}));
  const ModelConfig biased = parse(with(llama(), R"({"attention_bias": true, "mlp_bias": true})"));
  EXPECT_TRUE(biased.qkv_bias && biased.o_bias && biased.mlp_bias);
}

TEST(Config, OldAndNewFieldNamesSayTheSame) {
  const std::string scaling = R"("factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 4096)";
  const Json variants[] = {
      with(llama(), R"({"rope_scaling": {"type": "llama3", )" + scaling + "}}"),
      with(llama(), R"({"rope_scaling": {"rope_type": "llama3", )" + scaling + "}}"),
      with(llama(), R"({"rope_theta": null, "dtype": "bfloat16", "rope_parameters":
        {"rope_type": "llama3", "rope_theta": 500000.0, )" +
                        scaling + "}}")};
  for (const Json& json : variants) {
    const RopeConfig rope = parse(json).rope;
    EXPECT_EQ(rope.type, RopeConfig::Type::kLlama3);
    EXPECT_EQ(rope.theta, 500000);
    EXPECT_EQ(rope.factor, 8);
    EXPECT_EQ(rope.original_max_positions, 4096);
  }
  const auto linear =
      parse(with(llama(), R"({"rope_scaling": {"type": "linear", "factor": 2}})")).rope;
  EXPECT_EQ(linear.type, RopeConfig::Type::kLinear);
  EXPECT_EQ(linear.factor, 2);
  EXPECT_EQ(parse(with(llama(), R"({"rope_scaling": {"rope_type": "default"}})")).rope.type,
            RopeConfig::Type::kDefault);
}

TEST(Config, TheOtherArchitectures) {
  Json json = with(llama(), R"({"architectures": ["MistralForCausalLM"]})");
  json["sliding_window"] = nullptr;  // (a patch with null removes the field)
  const ModelConfig mistral = parse(json);
  EXPECT_FALSE(mistral.qkv_bias);
  const ModelConfig qwen2 = parse(with(llama(), R"({"architectures": ["Qwen2ForCausalLM"],
      "tie_word_embeddings": true, "use_sliding_window": false, "sliding_window": 4096})"));
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.o_bias && qwen2.tied_embeddings && !qwen2.qk_norm);
  const ModelConfig qwen3 = parse(with(llama(), R"({"architectures": ["Qwen3ForCausalLM"],
      "bos_token_id": null})"));
  EXPECT_TRUE(qwen3.qk_norm && !qwen3.qkv_bias);
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_FALSE(qwen3.bos.has_value());
  EXPECT_EQ(qwen3.first_token(), 2);
  EXPECT_EQ(parse(with(llama(), R"({"architectures": null, "model_type": "qwen2"})")).architecture,
            "Qwen2ForCausalLM");
}

TEST(Config, WhatIsNotImplementedIsNamed) {
  expect_error(with(llama(), R"({"architectures": ["MixtralForCausalLM"]})"),
               "config.json: architectures: expected LlamaForCausalLM,");
  expect_error(with(llama(), R"({"architectures": ["LlamaForCausalLM", "X"]})"), "architectures");
  expect_error(with(llama(), R"({"hidden_act": "gelu"})"), "hidden_act: expected silu");
  expect_error(with(llama(), R"({"quantization_config": {"bits": 4}})"), "quantization_config");
  for (const char* type : {"yarn", "dynamic", "longrope", "mrope"}) {
    const Json scaling = {{"rope_type", type}, {"factor", 2.0}};
    for (const char* field : {"rope_scaling", "rope_parameters"}) {
      Json json = llama();
      json[field] = scaling;
      expect_error(json, std::string(field) + ": rope_type: expected default, linear or llama3");
    }
  }
  expect_error(with(llama(), R"({"rope_scaling": {"rope_type": "default", "mrope_section": [1]}})"),
               "rope_scaling: mrope_section");
  expect_error(with(llama(), R"({"rope_parameters": {"full_attention": {"rope_theta": 1}}})"),
               "rope_parameters: full_attention");
  expect_error(with(llama(), R"({"rope_scaling": {"rope_type": "llama3", "factor": 8}})"),
               "rope_scaling: low_freq_factor: expected a number, found no such field");
  expect_error(with(llama(), R"({"partial_rotary_factor": 0.5})"), "partial_rotary_factor");
  expect_error(with(llama(), R"({"rope_parameters": {"partial_rotary_factor": 0.5}})"),
               "rope_parameters: partial_rotary_factor");
}

TEST(Config, AWindowShorterThanTheContextIsNamed) {
  const Json mistral = with(llama(), R"({"architectures": ["MistralForCausalLM"]})");
  expect_error(with(mistral, R"({"sliding_window": 2048})"), "sliding_window: expected null");
  expect_error(mistral, "sliding_window: expected null");  // the default, 4096, is in use
  EXPECT_NO_THROW(parse(with(mistral, R"({"sliding_window": 8192})")));
  EXPECT_NO_THROW(parse(with(mistral, R"({"max_position_embeddings": 4096})")));

  for (const char* name : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    Json qwen = with(
        llama(), R"({"sliding_window": 4096, "use_sliding_window": true, "max_window_layers": 1})");
    qwen["architectures"] = {name};
    expect_error(qwen, "sliding_window: expected null");
    EXPECT_NO_THROW(parse(with(qwen, R"({"max_window_layers": 2})")));
    EXPECT_NO_THROW(parse(with(qwen, R"({"use_sliding_window": false})")));
    EXPECT_NO_THROW(parse(with(qwen, R"({"layer_types": ["full_attention", "full_attention"]})")));
    expect_error(with(qwen, R"({"layer_types": ["full_attention", "sliding_attention"]})"),
                 "sliding_window: expected null");
    expect_error(with(qwen, R"({"layer_types": ["linear_attention"]})"), "layer_types");
  }
}

TEST(Config, MalformedFieldsAreNamed) {
  expect_error(with(llama(), R"({"hidden_size": null})"), "hidden_size: expected an integer");
  expect_error(with(llama(), R"({"hidden_size": 0})"), "hidden_size: expected a size");
  expect_error(with(llama(), R"({"hidden_size": 66})"), "hidden_size: expected a multiple");
  expect_error(with(llama(), R"({"vocab_size": 99999999999999})"), "vocab_size: expected a size");
  expect_error(with(llama(), R"({"num_hidden_layers": 1000000})"),
               "num_hidden_layers: expected at most");
  expect_error(with(llama(), R"({"num_key_value_heads": 3})"), "expected a divisor of");
  expect_error(with(llama(), R"({"head_dim": 15})"), "head_dim: expected an even size");
  expect_error(with(llama(), R"({"rms_norm_eps": "x"})"), "rms_norm_eps: expected a number");
  expect_error(with(llama(), R"({"bos_token_id": 100})"), "bos_token_id: expected token ids below");
  expect_error(with(llama(), R"({"eos_token_id": [1, -1]})"), "eos_token_id: expected token ids");
  expect_error(Json::array(), "config.json: expected an object");
}

TEST(Config, TokensMayStandInTheGenerationConfig) {
  ModelConfig config = parse(with(llama(), R"({"bos_token_id": null, "eos_token_id": 2})"));
  add_generation_config(config, Json::parse(R"({"bos_token_id": 5, "eos_token_id": [2, 9]})"), "g");
  EXPECT_EQ(config.bos, 5);
  EXPECT_EQ(config.eos, (std::vector<int32_t>{2, 9}));
}

MemorySource zeros(const ModelConfig& config) {
  MemorySource source;
  for (const ModelTensor& tensor : model_tensors(config))
    source.set(tensor.name, Matrix<float>(tensor.shape.rows, tensor.shape.cols));
  return source;
}

TEST(Config, TensorsAreCheckedAgainstIt) {
  const ModelConfig config = parse(with(llama(), R"({"tie_word_embeddings": true})"));
  MemorySource source = zeros(config);
  EXPECT_NO_THROW(check_tensors(config, source));
  source.set("model.layers.0.self_attn.rotary_emb.inv_freq", Matrix<float>(1, 8));
  source.set(kHead, Matrix<float>(100, 64));
  EXPECT_NO_THROW(check_tensors(config, source));  // a copy of the embeddings is harmless

  MemorySource other_head = source;
  Matrix<float> head(100, 64);
  head(99, 63) = 1;
  other_head.set(kHead, head);
  EXPECT_NE(error_of([&] { check_tensors(config, other_head); }).find("since tie_word_embeddings"),
            std::string::npos);

  MemorySource extra = source;
  extra.set("model.layers.1.self_attn.q_proj.bias", Matrix<float>(1, 64));
  EXPECT_NE(error_of([&] { check_tensors(config, extra); }).find("q_proj.bias': expected no such"),
            std::string::npos);

  MemorySource wrong = source;
  wrong.set("model.layers.1.self_attn.k_proj.weight", Matrix<float>(64, 64));
  EXPECT_EQ(error_of([&] { check_tensors(config, wrong); }),
            "tensor 'model.layers.1.self_attn.k_proj.weight': expected shape 32 x 64 (from the "
            "configuration), found 64 x 64");

  const ModelConfig untied = parse(llama());
  EXPECT_NE(error_of([&] {
              check_tensors(untied, zeros(config));
            }).find("tensor 'lm_head.weight': expected 100 x 64 values, found no such tensor"),
            std::string::npos);
}

TEST(Config, SitesAreTheSevenLayersInOrder) {
  const auto sites = linear_sites(parse(with(llama(), R"({"attention_bias": true})")), 1);
  EXPECT_EQ(sites[kQuery].name, "model.layers.1.self_attn.q_proj.weight");
  EXPECT_EQ(sites[kQuery].bias_name(), "model.layers.1.self_attn.q_proj.bias");
  EXPECT_EQ(sites[kDown].rows, 64);
  EXPECT_EQ(sites[kDown].cols, 96);
  EXPECT_FALSE(sites[kGate].bias);
  std::string inputs;
  for (int i = 0; i < kLinears; ++i) {
    EXPECT_EQ(sites[static_cast<size_t>(i)].linear, i);
    inputs += std::string(to_string(sites[static_cast<size_t>(i)].input)) + " ";
  }
  EXPECT_EQ(inputs, "qkv qkv qkv o gate_up gate_up down ");
}

TEST(Config, TheBundledModel) {
  const std::string dir = WATERSIC_SOURCE_DIR "/models/books-llama";
  const ModelConfig config = load_config(dir);
  EXPECT_EQ(config.blocks, 6);
  EXPECT_EQ(config.bos, 4094);
  const CheckpointSource source(dir);
  EXPECT_NO_THROW(check_tensors(config, source));
  EXPECT_EQ(source.dtype(kEmbedding), "BF16");
}

}  // namespace
}  // namespace watersic
