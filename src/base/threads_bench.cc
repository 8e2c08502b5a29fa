// What a call of the pool costs beside its work.
#include <benchmark/benchmark.h>

#include "base/threads.h"

namespace watersic {
namespace {

void empty_tiles(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  for (auto _ : state)
    pool.parallel_for(state.range(1), [](int64_t i) { benchmark::DoNotOptimize(i); });
}
BENCHMARK(empty_tiles)->Args({1, 8})->Args({2, 8})->Args({2, 64})->UseRealTime();

}  // namespace
}  // namespace watersic
