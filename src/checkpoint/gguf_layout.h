// A model of ours as llama.cpp has it in a GGUF file: names of tensors, order of rows, keys of the
// configuration. As its convert_hf_to_gguf.py writes them and its loader reads them.
//
//   general.architecture   models                     rotary pairs
//   llama                  Llama, Mistral             neighbours: rows of q and k are permuted
//   qwen2, qwen3           Qwen2, Qwen3               halves of the head, as everywhere else
//
// What a rotation's frequencies are divided by for Llama 3's scaling stands in a tensor of its own,
// one divisor for each pair.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "io/json.h"
#include "model/config.h"

namespace watersic {

inline constexpr const char* kGgufRopeDivisors = "rope_freqs.weight";

// "blk.3.attn_q.weight" for "model.layers.3.self_attn.q_proj.weight": any name of model_tensors().
std::string gguf_name(const std::string& tensor);

// Whether rows of this tensor (of a bias: elements) stand in another order in the file.
bool is_permuted(const ModelConfig& config, const std::string& tensor);
// The place in the file of row `row` of a permuted tensor: with k = row mod head_dim, those of
// k < head_dim / 2 get the even places of their head, its other half the odd ones.
int64_t gguf_row(const ModelConfig& config, int64_t row);

// Head_dim / 2 divisors of the rotary frequencies; none unless the model has Llama 3's scaling.
std::vector<float> gguf_rope_divisors(const ModelConfig& config);

// The keys under general.architecture. Throws Error, calling the model `name`, for what llama.cpp
// has no key for.
void add_gguf_config(GgufMetadata& metadata, const ModelConfig& config, const std::string& name);

// config.json from a file's keys and tensors. Throws Error, naming the key, where one is missing,
// malformed, or asks for arithmetic that is not implemented.
Json config_from_gguf(const GgufFile& file);

}  // namespace watersic
