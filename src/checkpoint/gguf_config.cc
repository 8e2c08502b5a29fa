// config.json from the keys of a GGUF file.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>
#include <string_view>

#include "checkpoint/gguf_layout.h"
#include "model/rope.h"
#include "tokenizer/gguf_vocabulary.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// Shortest in decimal, so that a base of 10000 or an epsilon of 1e-5, stored as float32, comes out
// as it was written in config.json.
double shortest(double value) {
  const std::string text = fmt::format("{}", static_cast<float>(value));
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// A value that is nearly a multiple of `unit` becomes it: what was fitted to float32.
double snapped(double value, double unit) {
  const double near = std::round(value / unit) * unit;
  return std::abs(value - near) <= 1e-3 * value ? near : value;
}

// The parameters of Llama 3's scaling from the divisors that they make. A pair of wavelength w has
// the divisor 1 where w < original / high, `factor` where w > original / low, and 1 / ((1 - s) /
// factor + s) with s = (original / w - low) / (high - low) between them. Only the ratios of low,
// high and original count, so that low is 1, as in every model so far; and s is a straight line in
// 1 / w, which two points give; where there is one, high is 4, as in every model so far.
Json llama3_scaling(const GgufFile& file, const GgufFile::Tensor& tensor, const RopeConfig& plain,
                    int64_t head_dim) {
  const std::string name = fmt::format("{}: tensor '{}'", file.path().string(), tensor.name);
  if (tensor.rows * tensor.cols != head_dim / 2) {
    throw Error(fmt::format("{}: expected {} values, found {}", name, head_dim / 2,
                            tensor.rows * tensor.cols));
  }
  const Matrix<float> divisors = file.read(tensor);
  const std::vector<float> frequencies = rope_frequencies(plain, head_dim);
  const auto [least, most] =
      std::minmax_element(divisors.values().begin(), divisors.values().end());
  const double factor = *most;
  if (*least >= 0.9999 && factor <= 1.0001) return {};  // nothing is stretched
  struct Point {
    double x, s;  // 1 / wavelength
  };
  std::vector<Point> between;
  double longest_kept = 0, shortest_stretched = 0;  // wavelengths; 0: none so far
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double x = frequencies[i] / (2 * std::numbers::pi), divisor = divisors.values()[i];
    if (divisor > 1.0001 && divisor < 0.9999 * factor) {
      between.push_back({x, (1 / divisor - 1 / factor) / (1 - 1 / factor)});
    } else if (divisor <= 1.0001) {
      longest_kept = 1 / x;
    } else if (shortest_stretched == 0) {
      shortest_stretched = 1 / x;
    }
  }
  double high = 4, original = 0;
  if (between.size() > 1) {
    const Point &a = between.front(), &b = between.back();
    const double slope = (a.s - b.s) / (a.x - b.x), at_zero = a.s - slope * a.x;
    high = snapped(1 - 1 / at_zero, 0.25);
    original = slope * (high - 1);
  } else if (between.size() == 1) {
    original = (between[0].s * (high - 1) + 1) / between[0].x;
  } else if (longest_kept > 0) {  // any border in the gap will do
    const double third = std::cbrt(shortest_stretched / longest_kept);
    high = std::min(high, third);
    original = shortest_stretched / third;
  } else {
    original = shortest_stretched / 2;
  }
  RopeConfig found = plain;
  found.type = RopeConfig::Type::kLlama3;
  found.factor = shortest(factor);
  found.high_frequency_factor = high;
  found.original_max_positions = snapped(original, 1);
  bool fits = high > 1 && original > 0 && std::isfinite(high) && std::isfinite(original);
  if (fits) {
    const std::vector<float> scaled = rope_frequencies(found, head_dim);
    for (size_t i = 0; i < scaled.size(); ++i)
      fits &= std::abs(frequencies[i] / scaled[i] - divisors.values()[i]) <=
              1e-4 * divisors.values()[i];
  }
  if (!fits) {
    throw Error(name +
                ": expected the divisors of Llama 3's rotary scaling, found others (which are not "
                "implemented)");
  }
  return {{"rope_type", "llama3"},
          {"factor", found.factor},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", found.high_frequency_factor},
          {"original_max_position_embeddings", found.original_max_positions}};
}

// A key of the architecture that we don't know may change what the model computes.
void check_keys(const JsonFields& metadata, const std::string& prefix) {
  static const std::set<std::string_view> kKnown = {"attention.causal",
                                                    "attention.head_count",
                                                    "attention.head_count_kv",
                                                    "attention.key_length",
                                                    "attention.layer_norm_rms_epsilon",
                                                    "attention.sliding_window",
                                                    "attention.value_length",
                                                    "block_count",
                                                    "context_length",
                                                    "embedding_length",
                                                    "expert_count",
                                                    "expert_used_count",
                                                    "feed_forward_length",
                                                    "rope.dimension_count",
                                                    "rope.freq_base",
                                                    "rope.scale_linear",
                                                    "rope.scaling.factor",
                                                    "rope.scaling.finetuned",
                                                    "rope.scaling.original_context_length",
                                                    "rope.scaling.type",
                                                    "tensor_data_layout",
                                                    "vocab_size"};
  for (const auto& [key, value] : metadata.json().items()) {
    if (key.starts_with(prefix) && !kKnown.contains(std::string_view(key).substr(prefix.size())))
      metadata.fail(key, "no such key (what it does is not implemented)");
  }
  const auto expect = [&](const char* key, int64_t expected) {
    if (metadata.integer(prefix + key, expected) != expected)
      metadata.fail(prefix + key, fmt::format("{} (others are not implemented)", expected));
  };
  expect("expert_count", 0);
  expect("expert_used_count", 0);
  if (!metadata.boolean(prefix + "attention.causal", true))
    metadata.fail(prefix + "attention.causal", "true (others are not implemented)");
  const int64_t context = metadata.integer(prefix + "context_length");
  if (metadata.integer(prefix + "attention.sliding_window", context) < context)
    metadata.fail(prefix + "attention.sliding_window",
                  "at least the context (a shorter window is not implemented)");
  if (metadata.text(prefix + "tensor_data_layout", "Meta AI original pth") !=
      "Meta AI original pth")
    metadata.fail(prefix + "tensor_data_layout", "Meta AI original pth");
}

// rope_scaling, or null.
Json scaling_of(const GgufFile& file, const JsonFields& metadata, const std::string& prefix,
                const RopeConfig& plain, int64_t head_dim) {
  const std::string type = metadata.text(prefix + "rope.scaling.type", "none");
  if (type != "none" && type != "linear")
    metadata.fail(prefix + "rope.scaling.type", "none or linear (others are not implemented)");
  // The older name for the same.
  const double old = metadata.number(prefix + "rope.scale_linear", 1);
  const double factor = metadata.number(prefix + "rope.scaling.factor", old);
  const bool linear = type == "linear" ? factor != 1 : old != 1;
  const GgufFile::Tensor* divisors = file.find(kGgufRopeDivisors);
  if (linear && divisors != nullptr)
    metadata.fail(prefix + "rope.scaling.type",
                  fmt::format("none beside a tensor '{}'", kGgufRopeDivisors));
  if (linear) return {{"rope_type", "linear"}, {"factor", shortest(factor)}};
  return divisors == nullptr ? Json() : llama3_scaling(file, *divisors, plain, head_dim);
}

}  // namespace

Json config_from_gguf(const GgufFile& file) {
  const std::string name = file.path().string();
  const JsonFields metadata(file.metadata(), name);
  const std::string architecture = metadata.text("general.architecture");
  static const std::map<std::string, std::string> kKnown = {
      {"llama", "LlamaForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}};
  if (!kKnown.contains(architecture))
    metadata.fail("general.architecture", "llama, qwen2 or qwen3");
  const std::string prefix = architecture + ".";
  check_keys(metadata, prefix);

  const GgufFile::Tensor* embedding = file.find(gguf_name(kEmbedding));
  if (embedding == nullptr)
    throw Error(fmt::format("{}: tensor '{}': found no such tensor", name, gguf_name(kEmbedding)));
  const int64_t heads = metadata.integer(prefix + "attention.head_count");
  const int64_t hidden = metadata.integer(prefix + "embedding_length");
  if (heads < 1) metadata.fail(prefix + "attention.head_count", "at least 1");
  const int64_t head_dim = metadata.integer(prefix + "attention.key_length", hidden / heads);
  if (head_dim < 2 || head_dim > 1 << 16)
    metadata.fail(prefix + "attention.key_length", "a size from 2 to 65536");
  for (const char* key : {"attention.value_length", "rope.dimension_count"})
    if (metadata.integer(prefix + key, head_dim) != head_dim)
      metadata.fail(prefix + key, fmt::format("{}, the size of a head", head_dim));
  const RopeConfig plain{.theta = shortest(metadata.number(prefix + "rope.freq_base", 10000))};

  Json config = {
      {"architectures", {kKnown.at(architecture)}},
      {"model_type", architecture},
      {"hidden_size", hidden},
      {"intermediate_size", metadata.integer(prefix + "feed_forward_length")},
      {"num_hidden_layers", metadata.integer(prefix + "block_count")},
      {"num_attention_heads", heads},
      {"num_key_value_heads", metadata.integer(prefix + "attention.head_count_kv", heads)},
      {"head_dim", head_dim},
      {"hidden_act", "silu"},
      {"max_position_embeddings", metadata.integer(prefix + "context_length")},
      {"rms_norm_eps", shortest(metadata.number(prefix + "attention.layer_norm_rms_epsilon"))},
      {"rope_theta", plain.theta},
      {"rope_scaling", scaling_of(file, metadata, prefix, plain, head_dim)},
      {"vocab_size", embedding->rows},
      {"tie_word_embeddings", file.find(gguf_name(kHead)) == nullptr},
      {"use_cache", true},
  };
  const bool attention_bias = file.find("blk.0.attn_q.bias") != nullptr;
  if (architecture == "llama") config["mlp_bias"] = file.find("blk.0.ffn_gate.bias") != nullptr;
  if (architecture != "qwen2") config["attention_bias"] = attention_bias;
  if (architecture != "llama") config["use_sliding_window"] = false;

  const GgufFile::Tensor* layer = file.find("blk.0.ffn_down.weight");
  const GgufType type = layer == nullptr ? embedding->type : layer->type;
  config["torch_dtype"] = type == GgufType::kF32   ? "float32"
                          : type == GgufType::kF16 ? "float16"
                                                   : "bfloat16";

  const GgufSpecialTokens special = gguf_special_tokens(metadata, embedding->rows);
  if (special.bos) config["bos_token_id"] = *special.bos;
  if (!special.ends.empty()) config["eos_token_id"] = special.ends;
  return config;
}

}  // namespace watersic
