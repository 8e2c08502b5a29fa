// The most memory that a run takes, counted beforehand, and what of it is moved into a file where
// it shall take less.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "pipeline/embeddings.h"
#include "pipeline/plan.h"

namespace watersic {

struct MemoryPlan {
  int64_t peak_bytes = 0;        // resident, the mapped embedding included
  std::string at;                // the matrix at which it is
  bool streams_in_file = false;  // the streams go into the temporary file
};

// Of each of so many ranks. `windows` of `length` tokens. `two`: whether the quantized model's
// stream is followed as well. `most`: bytes; 0 for as many as it takes. Throws Error where that is
// less than the run needs.
MemoryPlan plan_memory(const ModelConfig& config, const std::vector<std::vector<LayerPlan>>& layers,
                       const std::vector<EmbeddingPlan>& embeddings, int64_t windows,
                       int64_t length, bool two, int64_t most, int ranks = 1);

}  // namespace watersic
