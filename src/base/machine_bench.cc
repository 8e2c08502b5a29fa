// What the machine itself can do, to hold the speed of products with quantized weights against:
// bytes read from memory, bytes multiplied in registers.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <span>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace watersic {
namespace {

// Each thread reads its part of 1 GiB, far more than any cache holds, in order.
void read_memory(benchmark::State& state) {
  static const std::vector<uint64_t> kMemory((size_t{1} << 30) / sizeof(uint64_t), 1);
  const size_t part = kMemory.size() / static_cast<size_t>(state.threads());
  const std::span<const uint64_t> own(
      kMemory.data() + part * static_cast<size_t>(state.thread_index()), part);
  for (auto _ : state) {
    // Several sums, so that reading waits for memory and not for the last sum.
    uint64_t sums[16] = {};
    for (size_t i = 0; i + 16 <= own.size(); i += 16)
      for (size_t j = 0; j < 16; ++j) sums[j] += own[i + j];
    benchmark::DoNotOptimize(sums);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(own.size_bytes()));
}
BENCHMARK(read_memory)->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMillisecond);

#if defined(__x86_64__)
// Products of bytes summed up in 32 bits, the step of every product of integers under AVX2
// (maddubs, madd, add), without loads: the most that weights in bytes could come to on one core.
__attribute__((target("avx2"))) void multiply_bytes(benchmark::State& state) {
  if (!__builtin_cpu_supports("avx2")) {
    state.SkipWithError("this CPU has no AVX2");
    return;
  }
  constexpr int kSums = 4;  // so that an addition does not wait for the last one
  constexpr int kSteps = 4096;
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i weights = _mm256_set1_epi8(3);
  __m256i inputs = _mm256_set1_epi8(1);
  __m256i sums[kSums] = {};
  for (auto _ : state) {
    for (int step = 0; step < kSteps; ++step) {
      for (__m256i& sum : sums) {
        asm volatile("" : "+x"(inputs));  // so that the product is made anew
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(weights, inputs), ones));
      }
    }
    benchmark::DoNotOptimize(sums);
  }
  state.SetItemsProcessed(state.iterations() * kSteps * kSums *
                          static_cast<int64_t>(sizeof(__m256i)));
}
BENCHMARK(multiply_bytes);
#endif

}  // namespace
}  // namespace watersic
