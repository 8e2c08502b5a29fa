// Scores token by token, of one model or of two side by side.
#pragma once

#include <cstdint>
#include <vector>

#include "base/context.h"
#include "eval/state_file.h"
#include "eval/windows.h"
#include "model/forward.h"

namespace watersic {

// log(sum exp(x)), in float64.
double log_sum_exp(std::span<const float> x);

// One scored position: nats.
struct TokenScore {
  double nll = 0;            // -log p(target)
  double reference_nll = 0;  // of the reference, if there is one
  double kl = 0;             // KL(reference || model)
  bool same_top = false;     // both find the same token most likely
};

TokenScore score_token(std::span<const float> logits, std::span<const float> reference,
                       int32_t target);

struct ScoredModel {
  const ForwardModel* model = nullptr;
  StateFile* states = nullptr;  // over all windows: taken from there, or put there; may be null
};

// Hidden states that are in memory at once, for each model (256 MiB). Each model's weights are read
// once for so many.
constexpr int64_t kHiddenValues = int64_t{1} << 26;

// Scores of all scored positions, window by window; `reference` may be null. The windows run
// through both models some at a time, as many as kHiddenValues allows, and logits are computed for
// a few hundred tokens at a time: what is stored for good is the scores. No score depends on
// `hidden_values`.
std::vector<TokenScore> score_windows(const Context& context, const ScoredWindows& windows,
                                      const ScoredModel& model, const ScoredModel* reference,
                                      int64_t hidden_values = kHiddenValues);

}  // namespace watersic
