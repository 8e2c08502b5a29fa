// How benchmarks of products with matrices time them.
#pragma once

#include <benchmark/benchmark.h>
#include <hwy/highway.h>

#include <string>
#include <vector>

#include "kernels/tiles.h"
#include "support/force_target.h"
#include "support/packed_samples.h"
#include "watersic/matrix.h"

namespace watersic {

// Products of `tokens` inputs on one thread with each matrix in turn, so that they come from memory
// where they are many: multiply(pool, M, X, Y). Counts weights times tokens, and bytes of weights.
template <class TiledMatrix, class Multiply>
void time_products(benchmark::State& state, int64_t target,
                   const std::vector<TiledMatrix>& matrices, int64_t tokens,
                   const Multiply& multiply) {
  const int64_t rows = matrices[0].rows, columns = matrices[0].inputs;
  const Matrix<float> X = normal_matrix(tokens, columns, 2);
  Matrix<float> Y(tokens, rows);
  ThreadPool pool(1);
  force_target(target);
  while (state.KeepRunning()) {
    for (const TiledMatrix& M : matrices) multiply(pool, M, X, Y.view());
    benchmark::DoNotOptimize(Y.data());
  }
  force_target(0);
  const double passes =
      static_cast<double>(state.iterations()) * static_cast<double>(matrices.size());
  state.counters["weights"] = benchmark::Counter(
      passes * static_cast<double>(rows * columns * tokens), benchmark::Counter::kIsRate);
  state.counters["bytes"] = benchmark::Counter(passes * static_cast<double>(matrices[0].bytes()),
                                               benchmark::Counter::kIsRate);
}

// One for each target: time(state, target).
template <class Time>
void register_for_targets(const std::string& name, const Time& time) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets())
    benchmark::RegisterBenchmark((name + "/" + hwy::TargetName(target)).c_str(),
                                 [=](benchmark::State& state) { time(state, target); })
        ->Unit(benchmark::kMicrosecond);
}

}  // namespace watersic
