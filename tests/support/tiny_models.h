// Tiny random models for tests: one for each architecture, with everything that its configuration
// can switch on.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/json.h"
#include "model/config.h"
#include "model/memory_source.h"

namespace watersic {

// "llama" (llama3 rope scaling, all biases, untied), "mistral" (linear rope scaling, one key head),
// "qwen2" (q/k/v biases, tied), "qwen3" (q/k norms, heads wider than the hidden size).
inline Json tiny_config(const std::string& kind) {
  Json json = Json::parse(R"({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2})");
  if (kind == "llama") {
    json.merge_patch(Json::parse(R"({"architectures": ["LlamaForCausalLM"], "head_dim": 16,
      "attention_bias": true, "mlp_bias": true, "rope_scaling": {"rope_type": "llama3",
      "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
      "original_max_position_embeddings": 256}})"));
  } else if (kind == "mistral") {
    json.merge_patch(Json::parse(R"({"architectures": ["MistralForCausalLM"],
      "num_key_value_heads": 1, "sliding_window": 512,
      "rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.5}})"));
  } else if (kind == "qwen2") {
    json.merge_patch(Json::parse(R"({"architectures": ["Qwen2ForCausalLM"],
      "tie_word_embeddings": true})"));
  } else {
    json.merge_patch(Json::parse(R"({"architectures": ["Qwen3ForCausalLM"], "head_dim": 24,
      "num_key_value_heads": 4})"));
  }
  return json;
}

// Weights that keep activations near 1 and attention away from uniform.
inline MemorySource random_model(const ModelConfig& config, uint64_t seed) {
  MemorySource source;
  Rng rng(seed);
  for (const ModelTensor& tensor : model_tensors(config)) {
    Matrix<float> values(tensor.shape.rows, tensor.shape.cols);
    const bool norm = tensor.is_vector && tensor.name.ends_with("weight");
    const double spread = tensor.is_vector ? 0.3 : 1.5 / std::sqrt(values.cols());
    for (float& x : values.values())
      x = static_cast<float>((norm ? 1.0 : 0.0) + spread * rng.normal());
    source.set(tensor.name, std::move(values));
  }
  return source;
}

inline std::vector<std::vector<int32_t>> random_windows(const ModelConfig& config, int count,
                                                        int length, uint64_t seed) {
  Rng rng(seed);
  std::vector<std::vector<int32_t>> windows(static_cast<size_t>(count));
  for (auto& window : windows)
    for (int t = 0; t < length; ++t)
      window.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocabulary))));
  return windows;
}

inline const std::vector<std::string>& tiny_kinds() {
  static const std::vector<std::string> kKinds = {"llama", "mistral", "qwen2", "qwen3"};
  return kKinds;
}

}  // namespace watersic
