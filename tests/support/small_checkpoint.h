// A small checkpoint for a test's folder.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/threads.h"
#include "checkpoint/synth.h"
#include "io/json.h"
#include "support/test_folder.h"

namespace watersic {

// Two Llama blocks with a few hundred thousand weights, and the vocabulary of the bundled model.
inline Json small_config() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 128,
    "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 4096, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu", "bos_token_id": 4094,
    "eos_token_id": 4095, "tie_word_embeddings": true})");
}

// `dir` must be new or empty. The tokenizer is the bundled model's.
inline void write_small_checkpoint(ThreadPool& pool, const std::filesystem::path& dir,
                                   uint64_t seed = 1, const Json& config = small_config()) {
  synthesize(pool, config, dir,
             {.seed = seed,
              .tokenizer = std::filesystem::path(WATERSIC_SOURCE_DIR) / "models/books-llama"});
}

}  // namespace watersic
