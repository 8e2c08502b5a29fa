// From token scores to the figures of llama.cpp's --kl-divergence: docs/conventions.md.
#pragma once

#include <span>
#include <vector>

#include "eval/score.h"
#include "io/json.h"
#include "watersic/evaluate.h"

namespace watersic {

// Mean and its standard error, with n - 1 in the variance; the error of one value alone is 0.
Estimate mean_of(std::span<const double> values);

// Sorts its copy. Not empty.
Percentiles percentiles_of(std::vector<double> values);

// `scores` of a model and a reference; at least one.
KlStatistics kl_statistics(std::span<const TokenScore> scores);

Json to_json(const KlStatistics& statistics);

}  // namespace watersic
