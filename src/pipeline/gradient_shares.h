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
  // -log2 of a part's KL over its bits. In theory 2, and 2.1 for embeddings at 3 to 5 bits
  // (docs/results.md); layers quantized alone at 1.75 and at 2.75 bits gave 2.4 in the mean, since
  // at low rates a bit buys more.
  static constexpr double kLayerSlope = 2.4, kRowsSlope = 2;

  std::vector<double> inputs, outputs;
  double slope = kLayerSlope;
};

// Reverse waterfilling over the parts of all layers (docs/algorithm.md, "Bits where the model feels
// them"): with one water level theta, the KL of a layer's part that has any bits, a part takes
// max(0, log2(variance / theta) / slope) bits and adds min(variance, theta) to the KL; with another
// slope than a layer's its own theta is so much higher that a bit more buys as much. Sets share and
// what KL that makes; theta is where the first `counted` of the layers spend `bits` on average (all
// of them: 0). A share is not below kLeastPart bits nor its floor, nor above bits + kMostExtra.
void fill_water(std::span<const LayerParts> parts, double bits, std::span<const double> floors,
                std::span<LayerSensitivity> layers, size_t counted = 0);

// A matrix outside of the blocks whose rate is open, embedding or head.
struct OpenMatrix {
  std::string name;
  int64_t weights = 0;
  LayerParts parts;
  double floor = 0;
};
// Its parts: S and the weight of each row as in EmbeddingProblem, of which each has the scale of
// the whole where it is `tied` or the embedding (`both`).
LayerParts parts_of_rows(ThreadPool& pool, double mean_square, const Matrix<double>& S,
                         const Matrix<double>& row_weights, bool both);

// What the shares are of.
struct Sharing {
  double bits = 0;                 // a weight, on average
  std::span<const double> floors;  // of the layers
  std::span<const OpenMatrix> open;
  bool counted = false;  // the open matrices are among the weights of which `bits` is the average
};

// Tokens whose second moments tell shares: three for each input of the widest layer, 4,096 at
// least, and none whose gradients were not taken. (Four times as many gave SmolLM2 the same KL.)
int64_t sharing_tokens(const ModelConfig& config);

// The layers' parts from the Cholesky factors of second moments (tokens weighted or not) and of the
// metrics of the outputs; in the order of the plan, without layers that don't share
// the budget, and then the open matrices.
std::vector<LayerSensitivity> share_by_gradients(const Context& context, const ModelConfig& config,
                                                 const WeightSource& source,
                                                 std::span<const std::vector<int32_t>> windows,
                                                 const std::vector<std::vector<LayerPlan>>& plan,
                                                 const OutputGradients& gradients, bool weighted,
                                                 const Sharing& sharing);

}  // namespace watersic
