// Whether turning a model pays (docs/algorithm.md, "The principal basis").
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/context.h"
#include "model/config.h"
#include "model/weights.h"
#include "pipeline/model_basis.h"
#include "watersic/quantize.h"

namespace watersic {

// The model's principal axes as `basis` has them, or nothing where that is native. With `bits` a
// weight of the layers, nothing as well where turning it would not pay at that rate: where it gains
// no more than the axes take of the file, judged on kChoiceTokens of the windows, at least one.
constexpr int64_t kChoiceTokens = 4096;
SavedBasis settle_basis(const Context& context, const ModelConfig& config,
                        const WeightSource& source, std::span<const std::vector<int32_t>> windows,
                        Basis basis, std::optional<double> bits);

// How many bits a weight a basis saves: by how much lower 1/2 log2 of the least error at `bits` a
// weight is in it than in the model's own, on average over all weights. The error of a layer is
// reverse waterfilling over its entries: column j's errors weigh as its pivot in the Cholesky
// factor of S (what is chance left out), and entries are as large as their row and their column
// are. One pass over the windows; may be stopped.
double basis_gain(const Context& context, const ModelConfig& config, const WeightSource& source,
                  std::span<const std::vector<int32_t>> windows, const SavedBasis& basis,
                  double bits);

// 1/2 log2 of that error for one layer, of all entries rows_i columns_j.
double waterfilling_cost(std::span<const double> rows, std::span<const double> columns,
                         double bits);

}  // namespace watersic
