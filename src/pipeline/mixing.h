// Adaptive mixing (WaterSIC, arXiv 2603.04956, section 4.4; docs/algorithm.md): how far a stage's
// statistics lean on the original model's inputs (e_q) and on plain instead of attention-weighted
// moments (e_a) is found by trying.
#pragma once

#include <functional>
#include <vector>

#include "calibration/stage_moments.h"
#include "watersic/quantize.h"

namespace watersic {

// M = (1 - e_q) M + e_q S for M in {S', E[x x'^T]}, so that the drift counts (1 - e_q) times,
// within each weighting; then (1 - e_a) weighted + e_a plain, S included. Without weighted moments
// e_a has no meaning.
Moments mixed(const StageStatistics& statistics, double e_q, double e_a);

// Tries points by `error_at`: 0, 1, `steps` golden-section steps and the middle of what is left for
// e_q at e_a = 0 (if search_q), then the same for e_a at the best e_q (if search_a). The best of
// all points is what counts; all are returned in the order tried.
MixingReport search_mixing(bool search_q, bool search_a, int steps,
                           const std::function<double(double e_q, double e_a)>& error_at);

}  // namespace watersic
