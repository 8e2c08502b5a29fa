// A model written as a GGUF file, for llama.cpp.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/open_model.h"
#include "watersic/model.h"
#include "watersic/progress.h"

namespace watersic {

// All matrices in `type` (those whose rows are no multiple of 32 in F16 where that is Q8_0), all
// vectors in F32, with configuration, tokenizer and chat template (model/gguf_layout.h,
// tokenizer/gguf_vocabulary.h). `pre`: as of GgufTokenizerOptions. Throws Error.
void write_gguf(const OpenModel& model, const std::filesystem::path& path, ExportType type,
                const std::string& pre, const ProgressFn& progress);

}  // namespace watersic
