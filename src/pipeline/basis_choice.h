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
// weight of the layers, nothing as well where turning it would not pay at that rate: it would raise
// basis_cost, or lower it by less than the axes take of the file.
SavedBasis settle_basis(const Context& context, const ModelConfig& config,
                        const WeightSource& source, std::span<const std::vector<int32_t>> windows,
                        Basis basis, std::optional<double> bits);

// How well the layers can be quantized in the basis that a model is seen in: 1/2 log2 of the least
// error at `bits` a weight, on average over all weights; so that differences are bits. The error of
// a layer is reverse waterfilling over its entries: column j's errors weigh as its pivot in the
// Cholesky factor of S (what is chance left out), and entries are as large as their row and their
// column are. On kChoiceTokens of the windows, at least one; may be stopped.
constexpr int64_t kChoiceTokens = 4096;
double basis_cost(const Context& context, const ModelConfig& config, const WeightSource& source,
                  std::span<const std::vector<int32_t>> windows, double bits);

// The same of one layer: of all entries rows_i columns_j.
double waterfilling_cost(std::span<const double> rows, std::span<const double> columns,
                         double bits);

}  // namespace watersic
