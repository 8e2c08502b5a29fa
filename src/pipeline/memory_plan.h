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
  std::string at;                // the matrix at which it is, or "gradients"
  bool streams_in_file = false;  // the streams go into the temporary file
};

// What a run goes through the model with.
struct Passes {
  int64_t windows = 0, length = 0;  // of tokens
  bool two = true;                  // whether the quantized model's stream is followed as well
  bool gradients = true;            // whether blocks' gradients are taken
  bool metrics = true;              // and quantizing minds the outputs' metric
  int ranks = 1;
};

// Of each rank. `most`: bytes; 0 for as many as it takes. Throws Error where that is less than the
// run needs.
MemoryPlan plan_memory(const ModelConfig& config, const std::vector<std::vector<LayerPlan>>& layers,
                       const std::vector<EmbeddingPlan>& embeddings, const Passes& passes,
                       int64_t most);

}  // namespace watersic
