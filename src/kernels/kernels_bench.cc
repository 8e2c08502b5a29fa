// Elements a second of the operators of rows, and positions a second of attention over a cache, on
// each instruction set that this CPU has.
#include <benchmark/benchmark.h>
#include <hwy/highway.h>

#include <string>
#include <vector>

#include "kernels/activations.h"
#include "kernels/attention_rows.h"

namespace watersic::kernels {
namespace {

template <class Body>
void timed(benchmark::State& state, int64_t target, int64_t items, const Body& body) {
  hwy::SetSupportedTargetsForTest(target);
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * items);
  hwy::SetSupportedTargetsForTest(0);
}

void softmax_row(benchmark::State& state, int64_t target) {
  std::vector<float> x(4096, 0.5F);
  timed(state, target, 4096, [&] { softmax(x); });
}

void gate_row(benchmark::State& state, int64_t target) {
  std::vector<float> gate(8192, 0.5F), up(8192, 0.5F);
  timed(state, target, 8192, [&] { gate_with(gate, up); });
}

void rms_norm_row(benchmark::State& state, int64_t target) {
  std::vector<float> x(2048, 0.5F), weight(2048, 1.0F), y(2048);
  timed(state, target, 2048, [&] { rms_norm(x, weight, 1e-5, y); });
}

// Scores and values of 4 query heads that share a key head of 64, over a page.
template <class T>
void attention_page(benchmark::State& state, int64_t target) {
  constexpr int64_t kRows = 4, kHeadDim = 64;
  std::vector<T> keys(kPagePositions * kHeadDim), values(kPagePositions * kHeadDim);
  std::vector<float> scales(kPagePositions, 1.0F);
  const HeadPage<T> page{keys.data(), values.data(), scales.data(), scales.data()};
  Matrix<float> Q(kRows, kHeadDim), P(kRows, kPagePositions), out(kRows, kHeadDim);
  timed(state, target, kPagePositions, [&] {
    key_scores(page, Q, 0.125F, P);
    add_values(page, P, out);
  });
}

const bool registered = [] {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const std::string suffix = std::string("/") + hwy::TargetName(target);
    const auto add = [&](const char* name, void (*run)(benchmark::State&, int64_t)) {
      benchmark::RegisterBenchmark((name + suffix).c_str(), run, target);
    };
    add("softmax", softmax_row);
    add("gate", gate_row);
    add("rms_norm", rms_norm_row);
    add("attention_half", attention_page<uint16_t>);
    add("attention_int8", attention_page<int8_t>);
  }
  return true;
}();

}  // namespace
}  // namespace watersic::kernels
