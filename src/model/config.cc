#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "watersic/error.h"

namespace watersic {
namespace {

constexpr int64_t kMaxSize = int64_t{1}
                             << 24;  // of one dimension: products of two are far from wrapping

constexpr int64_t kMaxBlocks = 10000;

int64_t size_field(const JsonFields& fields, const std::string& field) {
  const int64_t size = fields.integer(field);
  if (size < 1 || size > kMaxSize) fields.fail(field, fmt::format("a size from 1 to {}", kMaxSize));
  return size;
}

double positive_field(const JsonFields& fields, const std::string& field) {
  const double value = fields.number(field);
  if (!(value > 0)) fields.fail(field, "a number above 0");
  return value;
}

std::string architecture_of(const JsonFields& fields) {
  static constexpr struct {
    std::string_view architecture, model_type;
  } kKnown[] = {{"LlamaForCausalLM", "llama"},
                {"MistralForCausalLM", "mistral"},
                {"Qwen2ForCausalLM", "qwen2"},
                {"Qwen3ForCausalLM", "qwen3"}};
  const bool named = fields.has("architectures");
  std::string found;
  if (named) {
    const Json& list = fields.array("architectures");
    if (list.size() == 1 && list[0].is_string()) found = list[0].get<std::string>();
  } else {
    found = fields.text("model_type");
  }
  for (const auto& known : kKnown)
    if (found == (named ? known.architecture : known.model_type))
      return std::string(known.architecture);
  fields.fail(named ? "architectures" : "model_type",
              "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM or Qwen3ForCausalLM");
}

void check_whole_rotation(const JsonFields& fields) {
  if (fields.number("partial_rotary_factor", 1) != 1)
    fields.fail("partial_rotary_factor", "1 (others are not implemented)");
}

RopeConfig parse_rope(const JsonFields& fields) {
  RopeConfig rope;
  check_whole_rotation(fields);
  if (fields.has("rope_theta")) rope.theta = positive_field(fields, "rope_theta");
  // transformers 5 has all in rope_parameters, 4 had rope_scaling beside rope_theta.
  for (const char* field : {"rope_parameters", "rope_scaling"}) {
    if (!fields.has(field)) continue;
    const JsonFields scaling = fields.object(field);
    static const std::set<std::string> kKnown = {"rope_type",
                                                 "type",
                                                 "rope_theta",
                                                 "factor",
                                                 "low_freq_factor",
                                                 "high_freq_factor",
                                                 "original_max_position_embeddings",
                                                 "partial_rotary_factor"};
    const std::string type_field = scaling.has("rope_type") ? "rope_type" : "type";
    const std::string type = scaling.text(type_field, "default");
    if (type != "default" && type != "linear" && type != "llama3")
      scaling.fail(type_field, "default, linear or llama3 (others are not implemented)");
    for (const auto& [key, value] : scaling.json().items()) {
      if (!kKnown.contains(key) && !value.is_null())
        scaling.fail(key, "no such field (what it does is not implemented)");
    }
    check_whole_rotation(scaling);
    if (scaling.has("rope_theta")) rope.theta = positive_field(scaling, "rope_theta");
    if (type == "default") break;
    rope.type = type == "linear" ? RopeConfig::Type::kLinear : RopeConfig::Type::kLlama3;
    rope.factor = positive_field(scaling, "factor");
    if (type == "linear") break;
    rope.low_frequency_factor = positive_field(scaling, "low_freq_factor");
    rope.high_frequency_factor = positive_field(scaling, "high_freq_factor");
    rope.original_max_positions = positive_field(scaling, "original_max_position_embeddings");
    if (rope.high_frequency_factor <= rope.low_frequency_factor)
      scaling.fail("high_freq_factor", "more than low_freq_factor");
    break;
  }
  return rope;
}

// Attention that looks back over a shorter window than the context is not implemented.
void check_window(const JsonFields& fields, const ModelConfig& config) {
  const bool mistral = config.architecture == "MistralForCausalLM";
  const bool qwen = config.architecture.starts_with("Qwen");
  bool all_full = !mistral;
  if (qwen) {
    bool window_in_use = fields.boolean("use_sliding_window", false);
    if (fields.has("layer_types")) {
      bool sliding = false;
      for (const Json& type : fields.array("layer_types")) {
        if (type == "sliding_attention") {
          sliding = true;
        } else if (type != "full_attention") {
          fields.fail("layer_types", "full_attention or sliding_attention only");
        }
      }
      window_in_use = sliding;
    } else {
      window_in_use = window_in_use && fields.integer("max_window_layers", 28) < config.blocks;
    }
    all_full = !window_in_use;
  }
  if (all_full) return;
  // Absent is not null: the field's default in transformers is 4096.
  if (fields.json().contains("sliding_window") && !fields.has("sliding_window")) return;
  if (fields.integer("sliding_window", 4096) < config.max_positions) {
    fields.fail("sliding_window",
                fmt::format("null or at least max_position_embeddings, {} (a shorter window is not "
                            "implemented, and 4096 is the default)",
                            config.max_positions));
  }
}

// A token id, a list of them, or nothing.
std::vector<int32_t> token_field(const JsonFields& fields, const std::string& field,
                                 int64_t vocabulary) {
  std::vector<int32_t> tokens;
  if (!fields.has(field)) return tokens;
  const Json& value = fields.json()[field];
  for (const Json& token : value.is_array() ? value : Json::array({value})) {
    if (!token.is_number_integer() || token < 0 || token >= vocabulary)
      fields.fail(field, fmt::format("token ids below vocab_size, {}", vocabulary));
    tokens.push_back(token.get<int32_t>());
  }
  return tokens;
}

void add_tokens(ModelConfig& config, const JsonFields& fields) {
  const auto bos = token_field(fields, "bos_token_id", config.vocabulary);
  if (!config.bos && !bos.empty()) config.bos = bos.front();
  for (const int32_t token : token_field(fields, "eos_token_id", config.vocabulary)) {
    if (std::find(config.eos.begin(), config.eos.end(), token) == config.eos.end())
      config.eos.push_back(token);
  }
}

}  // namespace

ModelConfig parse_config(const Json& json, const std::string& name) {
  const JsonFields fields(json, name);
  ModelConfig config;
  config.architecture = architecture_of(fields);
  for (const char* field : {"quantization_config", "compression_config"}) {
    if (fields.has(field)) fields.fail(field, "no such field (the model is already quantized)");
  }
  if (fields.text("hidden_act", "silu") != "silu")
    fields.fail("hidden_act", "silu (others are not implemented)");

  config.hidden = size_field(fields, "hidden_size");
  config.intermediate = size_field(fields, "intermediate_size");
  config.blocks = size_field(fields, "num_hidden_layers");
  if (config.blocks > kMaxBlocks)
    fields.fail("num_hidden_layers", fmt::format("at most {}", kMaxBlocks));
  config.heads = size_field(fields, "num_attention_heads");
  config.kv_heads =
      fields.has("num_key_value_heads") ? size_field(fields, "num_key_value_heads") : config.heads;
  if (config.heads % config.kv_heads != 0)
    fields.fail("num_key_value_heads",
                fmt::format("a divisor of num_attention_heads, {}", config.heads));
  if (fields.has("head_dim")) {
    config.head_dim = size_field(fields, "head_dim");
  } else if (config.architecture == "Qwen3ForCausalLM") {
    config.head_dim = 128;  // its default, whatever the hidden size
  } else if (config.hidden % config.heads == 0) {
    config.head_dim = config.hidden / config.heads;
  } else {
    fields.fail("hidden_size", fmt::format("a multiple of num_attention_heads, {}", config.heads));
  }
  if (config.head_dim % 2 != 0 || config.query_size() > kMaxSize)
    fields.fail("head_dim", fmt::format("an even size, at most {} over all heads", kMaxSize));
  config.vocabulary = size_field(fields, "vocab_size");
  config.max_positions = size_field(fields, "max_position_embeddings");
  config.norm_epsilon = fields.has("rms_norm_eps") ? positive_field(fields, "rms_norm_eps") : 1e-6;
  config.rope = parse_rope(fields);
  check_window(fields, config);

  config.tied_embeddings = fields.boolean("tie_word_embeddings", false);
  const bool attention_bias = fields.boolean("attention_bias", false);
  if (config.architecture == "LlamaForCausalLM") {
    config.qkv_bias = config.o_bias = attention_bias;
    config.mlp_bias = fields.boolean("mlp_bias", false);
  } else if (config.architecture == "Qwen2ForCausalLM") {
    config.qkv_bias = true;
  } else if (config.architecture == "Qwen3ForCausalLM") {
    config.qkv_bias = config.o_bias = attention_bias;
    config.qk_norm = true;
  }
  add_tokens(config, fields);
  return config;
}

void add_generation_config(ModelConfig& config, const Json& json, const std::string& name) {
  add_tokens(config, JsonFields(json, name));
}

ModelConfig load_config(const std::filesystem::path& dir) {
  const auto path = dir / "config.json";
  ModelConfig config = parse_config(read_json(path), path.string());
  const auto generation = dir / "generation_config.json";
  if (std::filesystem::exists(generation))
    add_generation_config(config, read_json(generation), generation.string());
  return config;
}

const char* to_string(Capture capture) {
  static constexpr const char* kNames[] = {"qkv", "o", "gate_up", "down"};
  return kNames[static_cast<int>(capture)];
}

std::string LinearSite::bias_name() const {
  return name.substr(0, name.size() - std::string_view("weight").size()) + "bias";
}

std::string block_tensor(int64_t block, const std::string& name) {
  return fmt::format("model.layers.{}.{}", block, name);
}

std::array<LinearSite, kLinears> linear_sites(const ModelConfig& config, int64_t block) {
  const auto site = [&](Linear linear, const char* name, Capture input, int64_t rows, int64_t cols,
                        bool bias, int64_t heads = 1) {
    return LinearSite{.linear = linear,
                      .name = block_tensor(block, name),
                      .input = input,
                      .rows = rows,
                      .cols = cols,
                      .bias = bias,
                      .heads = heads};
  };
  const int64_t n = config.hidden, m = config.intermediate;
  const int64_t queries = config.query_size(), keys = config.kv_size();
  return {site(kQuery, "self_attn.q_proj.weight", Capture::kQkv, queries, n, config.qkv_bias,
               config.heads),
          site(kKey, "self_attn.k_proj.weight", Capture::kQkv, keys, n, config.qkv_bias,
               config.kv_heads),
          site(kValue, "self_attn.v_proj.weight", Capture::kQkv, keys, n, config.qkv_bias,
               config.kv_heads),
          site(kOutput, "self_attn.o_proj.weight", Capture::kO, n, queries, config.o_bias),
          site(kGate, "mlp.gate_proj.weight", Capture::kGateUp, m, n, config.mlp_bias),
          site(kUp, "mlp.up_proj.weight", Capture::kGateUp, m, n, config.mlp_bias),
          site(kDown, "mlp.down_proj.weight", Capture::kDown, n, m, config.mlp_bias)};
}

std::vector<ModelTensor> model_tensors(const ModelConfig& config) {
  std::vector<ModelTensor> tensors;
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t cols) {
    tensors.push_back({.name = name, .shape = {.rows = rows, .cols = cols}, .is_vector = false});
  };
  const auto vector = [&](const std::string& name, int64_t size) {
    tensors.push_back({.name = name, .shape = {.rows = 1, .cols = size}, .is_vector = true});
  };
  matrix(kEmbedding, config.vocabulary, config.hidden);
  for (int64_t block = 0; block < config.blocks; ++block) {
    vector(block_tensor(block, "input_layernorm.weight"), config.hidden);
    for (const LinearSite& site : linear_sites(config, block)) {
      if (site.linear == kGate)
        vector(block_tensor(block, "post_attention_layernorm.weight"), config.hidden);
      matrix(site.name, site.rows, site.cols);
      if (site.bias) vector(site.bias_name(), site.rows);
      if (config.qk_norm && site.linear == kQuery)
        vector(block_tensor(block, "self_attn.q_norm.weight"), config.head_dim);
      if (config.qk_norm && site.linear == kKey)
        vector(block_tensor(block, "self_attn.k_norm.weight"), config.head_dim);
    }
  }
  vector(kFinalNorm, config.hidden);
  if (!config.tied_embeddings) matrix(kHead, config.vocabulary, config.hidden);
  return tensors;
}

namespace {

// A head that is stored although the embeddings are tied must be the same matrix: which of two
// different ones a program takes depends on the program.
void check_stored_head(const WeightSource& source) {
  const auto shape = source.shape(kEmbedding);
  bool equal = source.shape(kHead) == shape;
  constexpr int64_t kChunk = 4096;
  for (int64_t begin = 0; equal && begin < shape.rows; begin += kChunk) {
    std::vector<int32_t> rows;
    for (int64_t i = begin; i < std::min(begin + kChunk, shape.rows); ++i)
      rows.push_back(static_cast<int32_t>(i));
    const Matrix<float> head = source.rows(kHead, rows), embedding = source.rows(kEmbedding, rows);
    equal = std::equal(head.values().begin(), head.values().end(), embedding.values().begin());
  }
  if (!equal) {
    throw Error(fmt::format(
        "tensor '{}': expected the values of '{}', since tie_word_embeddings is true, found others",
        kHead, kEmbedding));
  }
}

}  // namespace

void check_tensors(const ModelConfig& config, const WeightSource& source) {
  std::set<std::string> known;
  for (const ModelTensor& tensor : model_tensors(config)) {
    known.insert(tensor.name);
    if (!source.has(tensor.name))
      throw Error(fmt::format("tensor '{}': expected {} x {} values, found no such tensor",
                              tensor.name, tensor.shape.rows, tensor.shape.cols));
    const auto found = source.shape(tensor.name);
    if (!(found == tensor.shape)) {
      throw Error(
          fmt::format("tensor '{}': expected shape {} x {} (from the configuration), found {} x {}",
                      tensor.name, tensor.shape.rows, tensor.shape.cols, found.rows, found.cols));
    }
  }
  for (const std::string& name : source.names()) {
    if (known.contains(name) || name.ends_with("rotary_emb.inv_freq")) continue;
    if (name == kHead) {
      check_stored_head(source);
      continue;
    }
    throw Error(fmt::format("tensor '{}': expected no such tensor in a {} of this configuration",
                            name, config.architecture));
  }
}

}  // namespace watersic
