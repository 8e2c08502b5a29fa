// Checkpoints of the shapes of real models with random weights: for measuring time and memory where
// no real weights are at hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "io/json.h"

namespace watersic {

// The models whose shapes are known: "llama-3.2-1b", "llama-3-8b", "qwen3-8b".
std::vector<std::string> synth_models();

// config.json of one of them, as published; with `layers` blocks (from 1 to the model's own) where
// that is given. Error for an unknown name.
Json synth_config(const std::string& like, std::optional<int64_t> layers);

struct SynthOptions {
  uint64_t seed = 0;
  // A folder whose tokenizer files are copied. Without it the checkpoint has no tokenizer: text
  // cannot be encoded, but what works on token ids (calibration on sampled sequences) can be done.
  // Its ids should lie below vocab_size.
  std::filesystem::path tokenizer = {};
  int64_t shard_bytes = 5'000'000'000;
};

// Writes config.json and BF16 weights (model.safetensors, or shards with an index) for any
// configuration that parse_config takes, tensor by tensor, in memory of a few megabytes. `dir` must
// be new or empty; after an error nothing is left in it. The same seed gives the same bytes at any
// number of threads.
//
// A weight is s * r_i * c_j * z_ij: s by the kind of layer such that activations stay of realistic
// size through the depth and attention is neither uniform nor a single peak; r and c log-normal, as
// rows and columns of trained layers differ; z heavier in the tails than a Gaussian. Norms are
// log-normal. What random weights do not have are the correlations of trained ones: rates and
// distortions measured on them mean little.
void synthesize(const Context& context, const Json& config, const std::filesystem::path& dir,
                const SynthOptions& options = {});

}  // namespace watersic
