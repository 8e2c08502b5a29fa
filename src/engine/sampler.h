// Which token comes next, from the logits.
#pragma once

#include <cstdint>
#include <span>

namespace watersic {

// In the order in which they are applied, each to the distribution that the one before leaves, as
// in transformers: its temperature, then its top_k, top_p and min_p.
struct SamplerOptions {
  double temperature = 1;  // 0: the most likely token, whatever the rest says
  int64_t top_k = 0;       // the k most likely tokens; 0 for all
  double top_p = 1;        // the fewest of the most likely tokens that have this much together
  double min_p = 0;        // those with at least this times the largest probability
};

// Throws Error for an option that is out of range.
void check_sampler(const SamplerOptions& options);

// The token at quantile `uniform`, of [0, 1). Of tokens that are equally likely the first counts as
// the more likely one.
int32_t choose_token(std::span<const float> logits, const SamplerOptions& options, double uniform);

}  // namespace watersic
