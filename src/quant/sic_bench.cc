// Speed of the cancellation loop where rounding costs nothing: its matrix products.
#include "quant/sic.h"

#include <benchmark/benchmark.h>

#include <cmath>

#include "base/rng.h"

namespace watersic {
namespace {

class Nearest : public ColumnQuantizer<float> {
 public:
  void quantize(int64_t /*i*/, std::span<float> y, std::span<int32_t> z) override {
    for (size_t k = 0; k < y.size(); ++k) {
      y[k] = std::nearbyint(y[k]);
      z[k] = static_cast<int32_t>(y[k]);
    }
  }
};

// Square layers, on all the machine's threads.
void cancellation(benchmark::State& state) {
  const int64_t n = state.range(0);
  Rng rng(1);
  Matrix<float> L(n, n), start(n, n);
  Matrix<int32_t> Z(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j)
      L(i, j) = static_cast<float>(rng.normal() / static_cast<double>(n));
    L(i, i) = 1;
  }
  for (float& y : start.values()) y = static_cast<float>(4 * rng.normal());
  ThreadPool pool;
  Nearest nearest;
  while (state.KeepRunning()) {
    state.PauseTiming();
    Matrix<float> Y = start;
    state.ResumeTiming();
    cancel_successively<float>(pool, L, Y, 0, nearest, Z);
    benchmark::DoNotOptimize(Y.data());
  }
  const double weights = static_cast<double>(state.iterations()) * static_cast<double>(n * n);
  state.counters["weights"] = benchmark::Counter(weights, benchmark::Counter::kIsRate);
  // A product and a sum for each weight and each column after its own.
  state.counters["flop"] =
      benchmark::Counter(weights * static_cast<double>(n), benchmark::Counter::kIsRate);
}
BENCHMARK(cancellation)
    ->Arg(512)
    ->Arg(1024)
    ->Arg(2048)
    ->Arg(4096)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace watersic
