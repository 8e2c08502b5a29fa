// Who gets how many bits, before any work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/threads.h"
#include "model/config.h"
#include "pipeline/budget.h"
#include "pipeline/model_file.h"
#include "pipeline/plan.h"
#include "watersic/quantize.h"

namespace watersic {

struct Rates {
  double target = 0;  // bits a weight, over all layers
  int64_t weights = 0, fixed_weights = 0;
  double fixed_bits = 0;  // of layers whose rate is given
  // Embedding and head whose bits are still open: what they would be alone, or with other ways of
  // sharing than by gradients, stands in the options.
  std::vector<std::string> open;

  // `axes`: the bits that the basis takes of the file, and so of the layers.
  RateBudget budget(double axes) const {
    return RateBudget(target, weights, fixed_weights, fixed_bits + axes);
  }
};

// Of options.bits, or of what options.file_size leaves. Resolves options.embedding_bits and
// head_bits. Throws Error where the file's size is too small, or those rates too low for their
// matrices.
Rates settle_rates(ThreadPool& pool, const ModelConfig& config,
                   const std::vector<std::vector<LayerPlan>>& plan, const ModelFile& file,
                   QuantizeOptions& options);

// Of the layers that share `bits`, in their order: a little more than their side information takes.
std::vector<double> least_shares(ThreadPool& pool, const std::vector<std::vector<LayerPlan>>& plan,
                                 double bits);
// Takes what was found for the open matrices, the last of `shares`, into the options, and where
// `counted` the layers' average, too.
void settle_open(const ModelConfig& config, const std::vector<LayerSensitivity>& shares,
                 bool counted, QuantizeOptions& options, Rates& rates);
// Into the plan: what each of these layers shall have beside `bits`, of which all have a share.
void set_shares(const std::vector<LayerSensitivity>& shares, double bits,
                std::vector<std::vector<LayerPlan>>& plan);

}  // namespace watersic
