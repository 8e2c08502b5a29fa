// What a run is: two runs of the same identity give the same bytes.
#pragma once

#include <filesystem>

#include "io/json.h"
#include "watersic/quantize.h"

namespace watersic {

// Version, hashes of the checkpoint's and the calibration text's files, options. Reads all of them.
Json run_identity(const std::filesystem::path& model_dir, const QuantizeOptions& options);

}  // namespace watersic
