#include "checkpoint/gguf_layout.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

#include "model/rope.h"
#include "watersic/error.h"

namespace watersic {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr std::array<Pair, 3> kWhole = {{{"model.embed_tokens.weight", "token_embd.weight"},
                                         {"model.norm.weight", "output_norm.weight"},
                                         {"lm_head.weight", "output.weight"}}};
// Within a block, without ".weight" and ".bias".
constexpr std::array<Pair, 11> kBlock = {{{"input_layernorm", "attn_norm"},
                                          {"self_attn.q_proj", "attn_q"},
                                          {"self_attn.k_proj", "attn_k"},
                                          {"self_attn.v_proj", "attn_v"},
                                          {"self_attn.o_proj", "attn_output"},
                                          {"self_attn.q_norm", "attn_q_norm"},
                                          {"self_attn.k_norm", "attn_k_norm"},
                                          {"post_attention_layernorm", "ffn_norm"},
                                          {"mlp.gate_proj", "ffn_gate"},
                                          {"mlp.up_proj", "ffn_up"},
                                          {"mlp.down_proj", "ffn_down"}}};

std::string architecture_of(const ModelConfig& config) {
  if (config.architecture == "Qwen2ForCausalLM") return "qwen2";
  if (config.architecture == "Qwen3ForCausalLM") return "qwen3";
  return "llama";
}

}  // namespace

std::string gguf_name(const std::string& tensor) {
  for (const auto& [ours, theirs] : kWhole)
    if (tensor == ours) return std::string(theirs);
  constexpr std::string_view kPrefix = "model.layers.";
  const size_t dot = tensor.find('.', kPrefix.size());
  const std::string block = tensor.substr(kPrefix.size(), dot - kPrefix.size());
  const size_t end = tensor.rfind('.');
  const std::string_view inside = std::string_view(tensor).substr(dot + 1, end - dot - 1);
  for (const auto& [ours, theirs] : kBlock)
    if (inside == ours) return fmt::format("blk.{}.{}{}", block, theirs, tensor.substr(end));
  throw Error(fmt::format("tensor '{}': found no name for it in a GGUF file", tensor));
}

bool is_permuted(const ModelConfig& config, const std::string& tensor) {
  return architecture_of(config) == "llama" && (tensor.find(".q_proj.") != std::string::npos ||
                                                tensor.find(".k_proj.") != std::string::npos);
}

int64_t gguf_row(const ModelConfig& config, int64_t row) {
  const int64_t half = config.head_dim / 2, k = row % config.head_dim;
  return row - k + 2 * (k % half) + k / half;
}

std::vector<float> gguf_rope_divisors(const ModelConfig& config) {
  if (config.rope.type != RopeConfig::Type::kLlama3) return {};
  const RopeConfig plain{.theta = config.rope.theta};
  const std::vector<float> scaled = rope_frequencies(config.rope, config.head_dim);
  std::vector<float> divisors = rope_frequencies(plain, config.head_dim);
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

void add_gguf_config(GgufMetadata& metadata, const ModelConfig& config, const std::string& name) {
  const std::string architecture = architecture_of(config);
  if (architecture != "llama") {
    if (config.rope.type == RopeConfig::Type::kLlama3)
      throw Error(
          fmt::format("{}: rope_scaling: llama3 is not in a GGUF file of {}", name, architecture));
    if (config.o_bias)
      throw Error(fmt::format("{}: attention_bias: biases are not in a GGUF file of {}", name,
                              architecture));
  }
  metadata.add_text("general.architecture", architecture);
  const auto number = [&](const char* key, int64_t value) {
    metadata.add_number(architecture + key, static_cast<uint32_t>(value));
  };
  const auto real = [&](const char* key, double value) {
    metadata.add_real(architecture + key, static_cast<float>(value));
  };
  number(".block_count", config.blocks);
  number(".context_length", config.max_positions);
  number(".embedding_length", config.hidden);
  number(".feed_forward_length", config.intermediate);
  number(".attention.head_count", config.heads);
  number(".attention.head_count_kv", config.kv_heads);
  number(".attention.key_length", config.head_dim);
  number(".attention.value_length", config.head_dim);
  real(".attention.layer_norm_rms_epsilon", config.norm_epsilon);
  number(".rope.dimension_count", config.head_dim);
  real(".rope.freq_base", config.rope.theta);
  number(".vocab_size", config.vocabulary);
  if (config.rope.type == RopeConfig::Type::kLinear) {
    metadata.add_text(architecture + ".rope.scaling.type", "linear");
    real(".rope.scaling.factor", config.rope.factor);
  }
}

}  // namespace watersic
