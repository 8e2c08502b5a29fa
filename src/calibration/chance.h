// What is chance in moments of few tokens, told by how much two halves of them differ. No count of
// tokens would tell: they come in windows, of a text that goes on, and a few may weigh as much as
// all others. A moment's contrast is the sum over one half of the tokens less that over the other:
// of what both have nothing is left, and of chance as much as in the moment itself.
#pragma once

#include "base/threads.h"
#include "watersic/matrix.h"

namespace watersic {

// Takes what is chance from a metric: its correlations (not its diagonal) times 1 - lambda, lambda
// the share that is chance, sum r'_ij^2 / sum r_ij^2 over i != j, r the correlations and r' those
// of the contrast (Schaefer and Strimmer 2005, doi:10.2202/1544-6115.1175; they estimate r' from
// independent samples). Both n x n. Returns lambda.
double shrink_correlations(ThreadPool& pool, MatrixView<const double> contrast,
                           MatrixView<double> S);
double shrink_correlations(ThreadPool& pool, MatrixView<const float> contrast, MatrixView<float> S);

}  // namespace watersic
