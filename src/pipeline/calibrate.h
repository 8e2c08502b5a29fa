// The token windows that a run calibrates on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/context.h"
#include "io/json.h"
#include "model/config.h"
#include "model/weights.h"
#include "tokenizer/tokenizer.h"
#include "watersic/quantize.h"

namespace watersic {

// What calibration needs of a model, however it is stored. All must outlive the call.
struct CalibratedModel {
  const std::string& name;  // for errors
  const ModelConfig& config;
  const WeightSource& weights;
  std::function<Tokenizer()> tokenizer;  // asked for only where there is a text
};

// Windows of one length; none for Source::kNone. Throws Error where the options ask for more than
// the model's context, or the text is too short.
std::vector<std::vector<int32_t>> calibration_windows(const Context& context,
                                                      const CalibratedModel& model,
                                                      const CalibrationOptions& options,
                                                      uint64_t seed);

// The windows that runs share in a file: from there, or made and put there. Throws Error where they
// were made for another `identity`, a JSON object.
std::vector<std::vector<int32_t>> shared_windows(
    const std::filesystem::path& path, const Json& identity,
    const std::function<std::vector<std::vector<int32_t>>()>& make);

}  // namespace watersic
