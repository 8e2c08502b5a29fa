// A checkpoint in its principal basis: the same function, in coordinates in which quantization
// costs less (docs/algorithm.md, "The principal basis").
#pragma once

#include <cstdint>
#include <filesystem>

#include "watersic/model.h"
#include "watersic/progress.h"
#include "watersic/quantize.h"

namespace watersic {

struct RotateOptions {
  // Which of the two the statistics turn: the residual stream (a tied head becomes one of its
  // own), and the values of each head.
  bool stream = true, heads = true;
  CalibrationOptions calibration;  // a text or `self`
  ExportType type = ExportType::kF32;
  uint64_t seed = 1;
  int threads = 0;
};

// `folder` must be new or empty. Throws Error.
void rotate_model(const std::filesystem::path& model, const std::filesystem::path& folder,
                  const RotateOptions& options, const ProgressFn& progress = {});

}  // namespace watersic
