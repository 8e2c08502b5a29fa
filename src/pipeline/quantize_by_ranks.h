// quantize_model() by ranks that are not those that the program was started with.
#pragma once

#include <filesystem>

#include "dist/communicator.h"
#include "watersic/quantize.h"

namespace watersic {

QuantizeReport quantize_by_ranks(const Communicator& ranks, const std::filesystem::path& model_dir,
                                 const std::filesystem::path& output,
                                 const QuantizeOptions& options, const ProgressFn& progress = {},
                                 const StopFn& stop = {});

}  // namespace watersic
