// What config.json says of a model, as far as the arithmetic depends on it, and what tensors a
// model of this configuration has. Architectures: Llama, Mistral, Qwen2, Qwen3 (for causal language
// modelling).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "model/weights.h"

namespace watersic {

struct RopeConfig {
  enum class Type { kDefault, kLinear, kLlama3 };
  Type type = Type::kDefault;
  double theta = 10000;
  double factor = 1;  // linear and llama3
  // llama3: wavelengths above original/low are stretched by `factor`, those below original/high are
  // kept, and between them the two are mixed.
  double low_frequency_factor = 1, high_frequency_factor = 4;
  double original_max_positions = 0;
};

struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM"
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t blocks = 0;
  int64_t heads = 0;     // of queries
  int64_t kv_heads = 0;  // divides `heads`
  int64_t head_dim = 0;  // even
  int64_t vocabulary = 0;
  int64_t max_positions = 0;
  double norm_epsilon = 0;
  RopeConfig rope;
  bool tied_embeddings = false;
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;

  int64_t query_size() const { return heads * head_dim; }
  int64_t kv_size() const { return kv_heads * head_dim; }
  // What a text begins with: BOS, or where there is none the first end-of-text token.
  std::optional<int32_t> first_token() const {
    return bos || eos.empty() ? bos : std::optional(eos.front());
  }
};

// From the content of config.json; `name` is what errors call it. Knows the field names of
// transformers 4 and 5. Error, naming the field, where a field is missing, malformed, or asks for
// arithmetic that is not implemented.
ModelConfig parse_config(const Json& json, const std::string& name);

// From DIR/config.json; tokens that it does not name are taken from DIR/generation_config.json.
ModelConfig load_config(const std::filesystem::path& dir);
void add_generation_config(ModelConfig& config, const Json& json, const std::string& name);

// The linear layers of a block, in the order in which they are quantized.
enum Linear { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown };
constexpr int kLinears = 7;

// Where a linear layer's input is seen.
enum class Capture { kQkv, kO, kGateUp, kDown };
constexpr int kCaptures = 4;
const char* to_string(Capture capture);  // "qkv", "o", "gate_up", "down"

struct LinearSite {
  Linear linear = kQuery;
  std::string name;  // of the weight: "model.layers.0.self_attn.q_proj.weight"
  Capture input = Capture::kQkv;
  int64_t rows = 0, cols = 0;  // outputs, inputs
  bool bias = false;
  int64_t heads = 1;  // equal parts that the rows come in

  std::string bias_name() const;  // meaningful where there is one
};
std::array<LinearSite, kLinears> linear_sites(const ModelConfig& config, int64_t block);

// "model.layers.BLOCK.NAME"
std::string block_tensor(int64_t block, const std::string& name);
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kFinalNorm = "model.norm.weight";
constexpr const char* kHead = "lm_head.weight";

// All tensors of the model, in the order in which a pass reads them.
struct ModelTensor {
  std::string name;
  WeightSource::Shape shape;
  bool is_vector = false;  // one dimension in a checkpoint
};
std::vector<ModelTensor> model_tensors(const ModelConfig& config);

// Error, naming the tensor, where one of the model's is missing or of another shape, or where the
// source has one that the configuration does not speak of. (Stored rotary frequencies are ignored,
// and so is a head beside tied embeddings that is equal to them.)
void check_tensors(const ModelConfig& config, const WeightSource& source);

}  // namespace watersic
