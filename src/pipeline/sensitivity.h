// How much of the model's KL each linear layer makes, and how bits are best shared by that.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/context.h"
#include "model/config.h"
#include "model/weights.h"
#include "pipeline/output_gradients.h"
#include "pipeline/plan.h"
#include "watersic/quantize.h"

namespace watersic {

// Quantizes one layer of the original model at a time, at two rates around `bits` (with the plain
// statistics of all windows), and runs the rest of the model on some of the windows: the KL of the
// original's next-token distributions against those. In the order of the plan; layers that don't
// share the budget, because they are kept or have a rate of their own, are left out.
// `gradients`: null without a metric of the outputs. May be stopped between
// steps.
std::vector<LayerSensitivity> measure_sensitivities(const Context& context,
                                                    const ModelConfig& config,
                                                    const WeightSource& source,
                                                    std::span<const std::vector<int32_t>> windows,
                                                    const std::vector<std::vector<LayerPlan>>& plan,
                                                    const OutputGradients* gradients, double bits);

// What both ways of sharing have in common. No layer gets less than kLeastPart of `bits`, the
// average, nor than its floor, nor kMostExtra more than it.
constexpr double kLeastPart = 0.5, kMostExtra = 3;
double bounded_share(double share, double bits, double floor);
// Finds the level whose base-2 logarithm, given to `spent`, makes that return the budget: it falls
// as the level rises. The last call is at the level found, and spends no more.
void settle_level(double budget, const std::function<double(double)>& spent);

// Sets every layer's share to the rate that makes sum KL_l(R_l) least where sum N_l R_l = bits sum
// N_l, with KL_l(R) = K 2^(-beta R) through what was measured at the two rates: beta_l KL_l / N_l
// is the same for all, but where a share would leave its bounds.
void share_by_sensitivity(std::span<LayerSensitivity> layers, double bits,
                          std::span<const double> floors);

}  // namespace watersic
