#include "checkpoint/synth.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/rng.h"
#include "checkpoint/checkpoint_writer.h"
#include "io/atomic_file.h"
#include "io/text.h"
#include "model/config.h"
#include "watersic/error.h"

namespace watersic {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, const char*>& published_configs() {
  static const std::map<std::string, const char*> kConfigs = {
      {"llama-3.2-1b", R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": 128001, "head_dim": 64,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
        "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true,
        "vocab_size": 128256})"},
      {"llama-3-8b", R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": 128001,
        "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
        "intermediate_size": 14336, "max_position_embeddings": 8192, "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 500000.0,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
        "vocab_size": 128256})"},
      {"qwen3-8b", R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
        "intermediate_size": 12288, "max_position_embeddings": 40960, "max_window_layers": 36,
        "model_type": "qwen3", "num_attention_heads": 32, "num_hidden_layers": 36,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null,
        "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": false,
        "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false,
        "vocab_size": 151936})"}};
  return kConfigs;
}

// The median of a norm's weights, or the standard deviation of a matrix times the root of its
// columns (of a bias: itself).
double size_of(const ModelTensor& tensor) {
  static constexpr struct {
    std::string_view part;
    double size;
  } kSizes[] = {{"input_layernorm", 0.5}, {"post_attention_layernorm", 0.6},
                {"q_norm", 1.3},          {"k_norm", 1.3},
                {"model.norm", 2.0},      {"bias", 0.1},
                {"q_proj", 2.0},          {"k_proj", 2.0},
                {"v_proj", 0.8},          {"o_proj", 0.8},
                {"gate_proj", 1.0},       {"up_proj", 1.0},
                {"down_proj", 0.8},       {"embed_tokens", 1.0},
                {"lm_head", 1.0}};
  if (tensor.name.ends_with("bias")) return 0.1;
  for (const auto& known : kSizes)
    if (tensor.name.find(known.part) != std::string::npos) return known.size;
  return 1;
}

class RandomWeights {
 public:
  explicit RandomWeights(uint64_t seed) : seed_(seed), draws_(kDraws) {
    // Values are drawn from a table of draws, four to a random number: a model has billions.
    Rng rng(seed);
    double square = 0;
    for (float& draw : draws_) {
      draw = static_cast<float>(rng.normal() * std::exp(0.35 * rng.normal()));
      square += static_cast<double>(draw) * static_cast<double>(draw) / kDraws;
    }
    for (float& draw : draws_) draw /= static_cast<float>(std::sqrt(square));
  }

  // The index-th tensor, in parts of some rows, to `writer`.
  void write(ThreadPool& pool, const ModelTensor& tensor, uint64_t index,
             SafetensorsWriter& writer) const {
    const auto [rows, cols] = tensor.shape;
    const bool norm = tensor.is_vector && !tensor.name.ends_with("bias");
    const double size =
        tensor.is_vector ? size_of(tensor) : size_of(tensor) / std::sqrt(static_cast<double>(cols));
    Rng rng = stream(index, 0);
    std::vector<float> column(static_cast<size_t>(cols));
    for (float& c : column) c = static_cast<float>(std::exp(0.3 * rng.normal()));

    const int64_t part = std::max<int64_t>(1, kPartValues / std::max<int64_t>(1, cols));
    for (int64_t begin = 0; begin < rows; begin += part) {
      Matrix<float> W(std::min(part, rows - begin), cols);
      pool.parallel_for(W.rows(), [&](int64_t i) {
        Rng row_rng = stream(index, static_cast<uint64_t>(begin + i) + 1);
        const auto row = W.row(i);
        if (norm) {
          for (float& x : row) x = static_cast<float>(size * std::exp(0.4 * row_rng.normal()));
          return;
        }
        const auto scale = static_cast<float>(size * std::exp(0.2 * row_rng.normal()));
        uint64_t bits = 0;
        for (size_t j = 0; j < row.size(); ++j, bits >>= 16) {
          if (j % 4 == 0) bits = row_rng.bits();
          row[j] = scale * column[j] * draws_[bits % kDraws];
        }
      });
      writer.write(W.values());
    }
  }

 private:
  static constexpr size_t kDraws = 65536;
  static constexpr int64_t kPartValues = int64_t{4} << 20;

  // Independent of any other tensor or row.
  Rng stream(uint64_t tensor, uint64_t row) const {
    return Rng(Rng(Rng(seed_).bits() + tensor).bits() + row);
  }

  uint64_t seed_;
  std::vector<float> draws_;
};

}  // namespace

std::vector<std::string> synth_models() {
  std::vector<std::string> names;
  for (const auto& [name, config] : published_configs()) names.push_back(name);
  return names;
}

Json synth_config(const std::string& like, std::optional<int64_t> layers) {
  const auto found = published_configs().find(like);
  if (found == published_configs().end()) {
    throw Error(fmt::format("expected a model of known shape ({}), found '{}'",
                            fmt::join(synth_models(), ", "), like));
  }
  Json config = Json::parse(found->second);
  if (layers) {
    const auto own = config["num_hidden_layers"].get<int64_t>();
    if (*layers < 1 || *layers > own)
      throw Error(fmt::format("expected from 1 to {} layers for {}, found {}", own, like, *layers));
    config["num_hidden_layers"] = *layers;
  }
  return config;
}

void synthesize(const Context& context, const Json& config, const fs::path& dir,
                const SynthOptions& options) {
  CheckpointFolder folder{.tensors = model_tensors(parse_config(config, "config.json")),
                          .shard_bytes = options.shard_bytes};
  folder.texts["config.json"] = config.dump(2) + "\n";
  if (!options.tokenizer.empty()) {
    folder.texts["tokenizer.json"] = read_text(options.tokenizer / "tokenizer.json");
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"})
      if (fs::exists(options.tokenizer / name))
        folder.texts[name] = read_text(options.tokenizer / name);
  }
  const RandomWeights weights(options.seed);
  write_checkpoint(
      dir, folder,
      [&](size_t k, SafetensorsWriter& writer) {
        weights.write(context.pool(), folder.tensors[k], k, writer);
      },
      context.progress());
}

}  // namespace watersic
