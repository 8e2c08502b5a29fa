// The token windows that a run calibrates on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/threads.h"
#include "model/config.h"
#include "model/weights.h"
#include "watersic/quantize.h"

namespace watersic {

// Windows of one length; none for Source::kNone. `model_dir` holds the tokenizer, which only text
// needs. Throws Error where the options ask for more than the model's context, or the text is too
// short.
std::vector<std::vector<int32_t>> calibration_windows(ThreadPool& pool, const ModelConfig& config,
                                                      const WeightSource& source,
                                                      const std::filesystem::path& model_dir,
                                                      const CalibrationOptions& options,
                                                      uint64_t seed, const ProgressFn& progress);

}  // namespace watersic
