// Rescalers: with the integers fixed, row scales t and column factors gamma that minimise the
// distortion (WaterSIC, arXiv 2603.04956, algorithm 4; docs/algorithm.md, "Rescalers").
#pragma once

#include <vector>

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

struct Rescaled {
  std::vector<double> t;      // a row scales, mean |t| = 1
  std::vector<double> gamma;  // n column factors in [-0.1, 1.5] before t was normalised
  double objective = 0;       // J at the pair returned, per weight
  double initial = 0;         // J at t and gamma as given
  int rounds = 0;
};

// Minimises J = [w2 - 2 <C, V> + tr(V S V^T)] / (a n), V = diag(t) Z diag(alpha) diag(gamma).
// Z: a x n integers; T: the target; C = T S, a x n; S: n x n, the undamped second moment of the
// quantized model's input; w2 = tr(T S T^T). Live columns only. Never returns a worse pair than (t,
// gamma) as given. Products are of float32: what they are off by changes t and gamma by as little,
// and J, at its minimum, by the square of that.
Rescaled rescale(ThreadPool& pool, MatrixView<const int32_t> Z, const std::vector<double>& alpha,
                 std::vector<double> t, std::vector<double> gamma, MatrixView<const float> C,
                 MatrixView<const float> S, double w2);

// The row scales t that minimise J with these column factors: for rows that had no part in them.
std::vector<double> row_scales(ThreadPool& pool, MatrixView<const int32_t> Z,
                               const std::vector<double>& alpha, const std::vector<double>& gamma,
                               MatrixView<const float> C, MatrixView<const float> S);

}  // namespace watersic
