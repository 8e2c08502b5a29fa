// Text sampled from a model, for calibration.
#pragma once

#include <cstdint>
#include <vector>

#include "base/context.h"
#include "model/config.h"
#include "model/weights.h"

namespace watersic {

struct SampleOptions {
  int64_t count = 1;        // of sequences
  int64_t length = 256;     // tokens of each, the first included
  int32_t first_token = 0;  // BOS, or the end-of-text token where there is no BOS
  double temperature = 1;   // above 0
  uint64_t seed = 0;
  int64_t weight_bytes = int64_t{4} << 30;  // of blocks that are held, see PartlyHeld
};

// Sequences sampled from the model's own distribution, by all ranks together. Sequence i depends on
// the seed and on i, not on `count` nor on the number of threads. An end-of-text token is a token
// as any other: what follows it is sampled on, as in the packed windows that models are trained on,
// so that every sequence is full.
std::vector<std::vector<int32_t>> sample_sequences(const Context& context,
                                                   const ModelConfig& config,
                                                   const WeightSource& source,
                                                   const SampleOptions& options);

}  // namespace watersic
