// config.json, and JSON of any kind (model/config.h, io/json.h).
#include "model/config.h"

#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "support/tiny_models.h"

namespace watersic {

std::vector<std::string> fuzz_seeds() {
  std::vector<std::string> seeds;
  for (const char* kind : {"llama", "mistral", "qwen2", "qwen3"})
    seeds.push_back(tiny_config(kind).dump());
  return seeds;
}

void fuzz_input(const std::string& input) {
  const Json json = parse_json(input, "config.json");
  ModelConfig config = parse_config(json, "config.json");
  add_generation_config(config, json, "generation_config.json");
  // A model of a billion blocks is no error, but its list of tensors is for nobody to read.
  if (config.blocks < 1000) model_tensors(config);
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  return rng.below(4) == 0 ? mutate_bytes(input, rng) : mutate_json(input, rng);
}

}  // namespace watersic
