// What a run keeps of its finished stages (pipeline/report.h), as it stands in the work folder's
// files behind their checksums.
#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "pipeline/report.h"

namespace watersic {
namespace {

LayerReport sample_layer() {
  LayerReport layer{.name = "model.layers.0.mlp.up_proj.weight", .rows = 8, .cols = 4};
  layer.target_bits = 2;
  layer.bits = {.file = 2, .coded = 1.9, .side = 0.1, .pooled_entropy = 2.1, .paper_rate = 2.3};
  layer.has_limit = true;
  layer.mixing = {.e_q = 0.5, .e_a = 0.25, .points = {{.e_q = 0.5, .e_a = 0.25, .error = 0.1}}};
  layer.column_bits = layer.column_factors = layer.row_scales = {0.5, 1, 2};
  return layer;
}

}  // namespace

// The first byte says which of the two an input is.
std::vector<std::string> fuzz_seeds() {
  const LayerSensitivity sensitivity{
      .name = "a", .weights = 32, .bits = {2}, .kl_bits = {0.1}, .slope = 2, .share = 2.5};
  return {"0" + layer_json(sample_layer()).dump(), "1" + sensitivities_json({sensitivity}).dump()};
}

void fuzz_input(const std::string& input) {
  if (input.empty()) return;
  const Json json = parse_json(input.substr(1), "stage.json");
  if (input[0] == '1') {
    sensitivities_json(sensitivities_from_json(json, "stage.json"));
  } else {
    layer_json(layer_from_json(json, "stage.json"));
  }
}

std::string fuzz_mutate(const std::string& input, Rng& rng) {
  const std::string kind = input.substr(0, 1), rest = input.empty() ? "" : input.substr(1);
  return kind + (rng.below(8) != 0 ? mutate_json(rest, rng) : mutate_bytes(rest, rng));
}

}  // namespace watersic
