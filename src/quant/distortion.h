// What a layer's values are off its weights, as distortion counts it.
#pragma once

#include <functional>

#include "base/threads.h"
#include "quant/problem.h"

namespace watersic {

// plain: tr((W - V) S (W - V)^T) / (a n). weighted: tr(G (W - V) S (W - V)^T) / (a n), G the
// problem's metric of the outputs with a mean of 1 on its diagonal; 0 without one.
struct Distortions {
  double plain = 0, weighted = 0;
};

// V's rows [first, first + rows), all columns. They are asked for some at a time, rising.
using ValueRows = std::function<Matrix<float>(int64_t first, int64_t rows)>;

Distortions distortions(ThreadPool& pool, const LayerProblem& problem, const ValueRows& V);
Distortions distortions(ThreadPool& pool, const LayerProblem& problem, MatrixView<const float> V);
// The plain one alone.
double distortion(ThreadPool& pool, const LayerProblem& problem, MatrixView<const float> V);
// tr(W S W^T) / (a n).
double signal(ThreadPool& pool, MatrixView<const float> W, MatrixView<const double> S);

}  // namespace watersic
