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

struct Shape {
  int width;
  int64_t rows, columns;
  int layers;
  bool operator==(const Shape&) const = default;
};

// Matrices of a shape; the last ones are kept, since the library sets a benchmark up several times.
const std::vector<PackedMatrix>& matrices_of(const Shape& shape) {
  static Shape made{};
  static std::vector<PackedMatrix> matrices;
  if (made == shape) return matrices;
  matrices.clear();
  for (int i = 0; i < shape.layers; ++i)
    matrices.push_back(
        packed_sample(shape.rows, shape.columns, {spread_of(shape.width)}, 0, 0).packed);
  made = shape;
  return matrices;
}

// `layers` matrices in turn, so that they come from memory where they are many.
void multiply(benchmark::State& state, int64_t target, const Shape& shape, int64_t tokens,
              InputPrecision precision) {
  const std::vector<PackedMatrix>& matrices = matrices_of(shape);
  const Matrix<float> X = normal_matrix(tokens, shape.columns, 2);
  Matrix<float> Y(tokens, shape.rows);
  ThreadPool pool(1);
  hwy::SetSupportedTargetsForTest(target);
  while (state.KeepRunning()) {
    for (const PackedMatrix& M : matrices) packed_multiply(pool, M, X, precision, {}, 0, Y);
    benchmark::DoNotOptimize(Y.data());
  }
  hwy::SetSupportedTargetsForTest(0);
  const double passes = static_cast<double>(state.iterations()) * shape.layers;
  state.counters["weights"] =
      benchmark::Counter(passes * static_cast<double>(shape.rows * shape.columns * tokens),
                         benchmark::Counter::kIsRate);
  state.counters["bytes"] = benchmark::Counter(passes * static_cast<double>(matrices[0].bytes()),
                                               benchmark::Counter::kIsRate);
}

int register_all() {
  const auto add = [&](const std::string& name, const Shape& shape, int64_t tokens,
                       InputPrecision precision) {
    for (const int64_t target : hwy::SupportedAndGeneratedTargets())
      benchmark::RegisterBenchmark(
          ("packed/" + name + "/" + std::to_string(shape.width) + "bits/" + hwy::TargetName(target))
              .c_str(),
          [=](benchmark::State& state) { multiply(state, target, shape, tokens, precision); })
          ->Unit(benchmark::kMicrosecond);
  };
  for (int width = 2; width <= 8; ++width) {
    add("cache", {width, 512, 1024, 1}, 1, InputPrecision::kInt8);
    add("float", {width, 512, 1024, 1}, 1, InputPrecision::kFloat);
    add("batch64", {width, 1024, 2048, 1}, 64, InputPrecision::kInt8);
    add("memory", {width, 2048, 2048, 100}, 1, InputPrecision::kInt8);
  }
  return 0;
}
const int kRegistered = register_all();

}  // namespace
}  // namespace watersic
