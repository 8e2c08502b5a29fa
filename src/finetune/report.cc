#include "io/json.h"

#include <nlohmann/json.hpp>

#include "pipeline/model_options.h"
#include "watersic/finetune.h"

namespace watersic {

std::string to_json(const FinetuneReport& r) {
  const FinetuneOptions& options = r.options;
  Json json = {{"schema", "watersic.finetune/1"},
               {"input", r.input},
               {"input_id", r.input_id},
               {"output", r.output},
               {"output_id", r.output_id},
               {"reference", r.reference},
               {"reference_id", r.reference_id},
               {"version", r.version},
               {"options",
                {{"calibration", calibration_json(options.calibration)},
                 {"held_out", options.held_out},
                 {"epochs", options.epochs},
                 {"batch", options.batch},
                 {"learning_rate", options.learning_rate.value_or(0)},
                 {"final_learning_rate", options.final_learning_rate.value_or(0)},
                 {"seed", options.seed}}},
               {"windows", r.windows},
               {"held_out_windows", r.held_out_windows},
               {"window_tokens", r.window_tokens},
               {"parameters", r.parameters},
               {"steps", r.steps},
               {"kl_bits_before", r.kl_bits_before},
               {"kl_bits_after", r.kl_bits_after},
               {"best_epoch", r.best_epoch},
               {"input_bytes", r.input_bytes},
               {"output_bytes", r.output_bytes},
               {"input_bits", r.input_bits},
               {"output_bits", r.output_bits},
               {"peak_bytes", r.peak_bytes},
               {"seconds", r.seconds}};
  json["epochs"] = Json::array();
  for (const FinetuneReport::Epoch& epoch : r.epochs) {
    json["epochs"].push_back({{"learning_rate", epoch.learning_rate},
                              {"kl_bits", epoch.kl_bits},
                              {"held_out_kl_bits", epoch.held_out_kl_bits},
                              {"gradient_norm", epoch.gradient_norm},
                              {"seconds", epoch.seconds}});
  }
  return json.dump(2) + "\n";
}

}  // namespace watersic
