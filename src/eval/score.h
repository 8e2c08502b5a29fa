// Scores token by token, from the hidden states of one or two models.
#pragma once

#include <cstdint>
#include <vector>

#include "base/threads.h"
#include "eval/windows.h"
#include "model/forward.h"
#include "watersic/matrix.h"

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

// A model as its last block left it, and its head.
struct ScoredModel {
  const OutputHead* head = nullptr;
  MatrixView<const float> hidden;  // (windows * length) x hidden
};

// Scores of all scored positions, window by window. `reference.head` may be null. Logits are
// computed for a few hundred tokens at a time and never stored.
std::vector<TokenScore> score_windows(ThreadPool& pool, const ScoredWindows& windows,
                                      const ScoredModel& model, const ScoredModel& reference,
                                      const ProgressFn& progress);

}  // namespace watersic
