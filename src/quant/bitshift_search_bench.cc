// Speed of the search through a bitshift trellis by memory and rate, and how far it stays from the
// rate-distortion function of a Gaussian.
#include "quant/bitshift_search.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "quant/bitshift_plan.h"

namespace watersic {
namespace {

// gap: bits above the limit, of one column of 16384 rows.
void search(benchmark::State& state) {
  const auto memory = static_cast<int>(state.range(0)), rate = static_cast<int>(state.range(1));
  const double bits = rate / 4.0, scale = code_width(rate) * std::sqrt(1 - std::exp2(-2 * bits));
  Rng rng(1);
  constexpr double kReach = 3.8;  // what lies farther out is an exception
  std::vector<float> u(16384);
  for (float& x : u) x = static_cast<float>(std::clamp(rng.normal(), -kReach, kReach) / scale);
  const std::vector<int32_t> rates(u.size() / kBitshiftRows, rate);
  std::vector<uint16_t> windows(u.size());
  BitshiftSearch path(memory);
  while (state.KeepRunning()) {
    path.follow(u, 0, rates, BitshiftSearch::kFree, windows);
    benchmark::DoNotOptimize(windows.data());
  }
  double error = 0, energy = 0;
  for (size_t k = 0; k < u.size(); ++k) {
    const double v = code_value(memory, rate, windows[k], static_cast<int64_t>(k) % kBitshiftRows) /
                     kCodeDeviation;
    error += (u[k] - v) * (u[k] - v);
    energy += u[k] * u[k];
  }
  state.counters["gap"] = bits + 0.5 * std::log2(error / energy);
  const auto rows = static_cast<double>(state.iterations()) * static_cast<double>(u.size());
  state.counters["row"] =
      benchmark::Counter(rows, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(search)
    ->ArgNames({"memory", "rate"})
    ->ArgsProduct({{10, 12, 14, 16}, {1, 2, 4, 6, 8, 12, 16, 20, 24}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace watersic
