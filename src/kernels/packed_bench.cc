// Weights a second of packed products, from cache and from memory, by width and target.
#include <benchmark/benchmark.h>
#include <hwy/highway.h>

#include <string>

#include "kernels/packed_multiply.h"
#include "support/packed_samples.h"

namespace watersic {
namespace {

// Gaussians of this spread fill `width` bits.
double spread_of(int width) { return std::exp2(width - 1) / 4.2; }

// `layers` matrices in turn, so that they come from memory where they are many.
void multiply(benchmark::State& state, int64_t target, int width, int64_t rows, int64_t columns,
              int layers, int64_t tokens, InputPrecision precision) {
  const PackedSample sample = packed_sample(rows, columns, {spread_of(width)}, 0, 0);
  std::vector<PackedMatrix> matrices;
  for (int i = 0; i < layers; ++i)
    matrices.push_back(packed_sample(rows, columns, {spread_of(width)}, 0, 0).packed);
  const Matrix<float> X = normal_matrix(tokens, columns, 2);
  Matrix<float> Y(tokens, rows);
  ThreadPool pool(1);
  hwy::SetSupportedTargetsForTest(target);
  while (state.KeepRunning()) {
    for (const PackedMatrix& M : matrices) packed_multiply(pool, M, X, precision, {}, 0, Y);
    benchmark::DoNotOptimize(Y.data());
  }
  hwy::SetSupportedTargetsForTest(0);
  const double passes = static_cast<double>(state.iterations()) * layers;
  state.counters["weights"] = benchmark::Counter(
      passes * static_cast<double>(rows * columns * tokens), benchmark::Counter::kIsRate);
  state.counters["bytes"] = benchmark::Counter(passes * static_cast<double>(matrices[0].bytes()),
                                               benchmark::Counter::kIsRate);
}

int register_all() {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const auto add = [&](const std::string& name, auto... arguments) {
      benchmark::RegisterBenchmark(
          (name + "/" + hwy::TargetName(target)).c_str(),
          [=](benchmark::State& state) { multiply(state, target, arguments...); })
          ->Unit(benchmark::kMicrosecond);
    };
    for (int width = 2; width <= 8; ++width) {
      const std::string bits = std::to_string(width) + "bits";
      add("packed/cache/" + bits, width, int64_t{512}, int64_t{1024}, 1, int64_t{1},
          InputPrecision::kInt8);
      add("packed/memory/" + bits, width, int64_t{2048}, int64_t{2048}, 100, int64_t{1},
          InputPrecision::kInt8);
      add("packed/batch64/" + bits, width, int64_t{1024}, int64_t{2048}, 1, int64_t{64},
          InputPrecision::kInt8);
      add("packed/float/" + bits, width, int64_t{512}, int64_t{1024}, 1, int64_t{1},
          InputPrecision::kFloat);
    }
  }
  return 0;
}
const int kRegistered = register_all();

}  // namespace
}  // namespace watersic
