// A model read back and written as a checkpoint folder that other programs load.
#pragma once

#include <filesystem>

#include "runtime/open_model.h"
#include "watersic/model.h"
#include "watersic/progress.h"

namespace watersic {

// All tensors under the original's names, in `type`, with the texts that the model carries; what
// config.json says of the dtype is made true. `folder` must be new or empty. Throws Error.
void write_safetensors(const OpenModel& model, const std::filesystem::path& folder, ExportType type,
                       const ProgressFn& progress);

}  // namespace watersic
