// The bits shared among the layers as the gradients of the original model tell.
#pragma once

#include <span>
#include <vector>

#include "base/context.h"
#include "model/config.h"
#include "model/weights.h"
#include "pipeline/output_gradients.h"
#include "pipeline/plan.h"
#include "watersic/quantize.h"

namespace watersic {

// The parts that a layer's rounding error is made of, as the loops leave them independent: part
// (i, k) has the variance inputs[i] * outputs[k], in bits of the model's KL.
struct LayerParts {
  std::vector<double> inputs, outputs;
};

// Reverse waterfilling over the parts of all layers (docs/algorithm.md, "Bits where the model feels
// them"): with one water level theta a part takes max(0, log2(variance / theta) / 2.4) bits and
// adds min(variance, theta) to the KL. Sets share and what KL that makes; theta is where the layers
// spend `bits` on average. A share is not below kLeastPart bits nor its floor, nor above bits +
// kMostExtra.
void fill_water(std::span<const LayerParts> parts, double bits, std::span<const double> floors,
                std::span<LayerSensitivity> layers);

// The layers' parts from the Cholesky factors of second moments (all windows, tokens weighted or
// not) and of the metrics of the outputs; in the order of the plan, without layers that don't share
// the budget.
std::vector<LayerSensitivity> share_by_gradients(const Context& context, const ModelConfig& config,
                                                 const WeightSource& source,
                                                 std::span<const std::vector<int32_t>> windows,
                                                 const std::vector<std::vector<LayerPlan>>& plan,
                                                 const OutputGradients& gradients, bool weighted,
                                                 double bits, std::span<const double> floors);

}  // namespace watersic
