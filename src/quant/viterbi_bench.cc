// Speed of the Viterbi algorithm for each number of states and instruction set, and what short
// segments cost in distortion.
#include "quant/viterbi.h"

#include <benchmark/benchmark.h>

#include <hwy/highway.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/rng.h"

namespace watersic {
namespace {

std::vector<float> gaussian(size_t rows, double spread) {
  Rng rng(1);
  std::vector<float> y(rows);
  for (float& x : y) x = static_cast<float>(spread * rng.normal());
  return y;
}

double mean_squared_error(const std::vector<float>& y, const std::vector<int32_t>& m) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double error = y[i] - 0.5 * m[i];
    sum += error * error;
  }
  return sum / static_cast<double>(y.size());
}

// Columns of 4096 rows.
void time_columns(benchmark::State& state, int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  const std::vector<float> y = gaussian(4096, 2);
  std::vector<int32_t> m(y.size());
  Viterbi viterbi(Trellis::of(static_cast<int>(state.range(0))));
  for (auto _ : state) {
    viterbi.quantize(y, state.range(1), m);
    benchmark::DoNotOptimize(m.data());
  }
  const auto rows = static_cast<double>(state.iterations()) * static_cast<double>(y.size());
  state.counters["row"] =
      benchmark::Counter(rows, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  hwy::SetSupportedTargetsForTest(0);
}

// bits: half the logarithm of the distortion against that of segments of 65536 rows.
void segment_cost(benchmark::State& state) {
  const Trellis& trellis = Trellis::of(static_cast<int>(state.range(0)));
  const std::vector<float> y = gaussian(size_t{1} << 22, 20);
  std::vector<int32_t> m(y.size());
  Viterbi viterbi(trellis);
  double cut = 0;
  for (auto _ : state) {
    viterbi.quantize(y, state.range(1), m);
    cut = mean_squared_error(y, m);
  }
  viterbi.quantize(y, 65536, m);
  const double uncut = mean_squared_error(y, m);
  state.counters["gain_dB"] = -10 * std::log10(12 * cut);
  state.counters["bits"] = 0.5 * std::log2(cut / uncut);
}

const int registered = [] {
  for (int64_t targets = hwy::SupportedTargets(); targets != 0; targets &= targets - 1) {
    const int64_t target = targets & -targets;
    const std::string name = std::string("columns/") + hwy::TargetName(target);
    benchmark::RegisterBenchmark(name.c_str(), time_columns, target)
        ->ArgNames({"states", "segment"})
        ->ArgsProduct({{4, 8, 16, 32, 64, 128, 256}, {128, 512, 4096}});
  }
  benchmark::RegisterBenchmark("segment_cost", segment_cost)
      ->ArgNames({"states", "segment"})
      ->ArgsProduct({{8, 64}, {64, 128, 256, 512, 1024, 4096}})
      ->Iterations(1);
  return 0;
}();

}  // namespace
}  // namespace watersic
