// Writing a Hugging Face checkpoint folder: config.json and its like, and the weights in shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/config.h"
#include "watersic/progress.h"

namespace watersic {

struct CheckpointFolder {
  std::vector<ModelTensor> tensors;          // in the order in which they are written
  std::string dtype = "BF16";                // of all of them: "BF16", "F16" or "F32"
  std::map<std::string, std::string> texts;  // by file name
  int64_t shard_bytes = 5'000'000'000;
};

// `fill(k, writer)` writes all values of tensors[k]. `dir` must be new or empty; after an error
// nothing is left in it. Weights go into model.safetensors, or into shards of at most shard_bytes
// (if a tensor is not larger by itself) with an index. Throws Error.
void write_checkpoint(const std::filesystem::path& dir, const CheckpointFolder& folder,
                      const std::function<void(size_t k, SafetensorsWriter& writer)>& fill,
                      const ProgressFn& progress = {});

}  // namespace watersic
