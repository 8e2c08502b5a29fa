// Sizes above entropy, and speed on one core, of the coder on Gaussian integers.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_estimate.h"
#include "coding/enc_tensor.h"
#include "support/sample_tensors.h"

namespace watersic {
namespace {

// Of this process: other programs on the machine do not count.
double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

template <class F>
double seconds_of(const F& f) {
  double best = 1e9, all = 0;
  for (int i = 0; i < 3 || (i < 200 && all < 0.2); ++i) {
    const double start = seconds();
    f();
    const double spent = seconds() - start;
    best = std::min(best, spent);
    all += spent;
  }
  return best;
}

// Columns of different spread: sizes above the entropy of each column's own best Gaussian, with
// `scales` as a quantizer would give them (inverse to the spreads, of some bits).
void measure_once(benchmark::State& state, const Sample& sample, ThreadPool& pool) {
  QuantizedTensor q = gaussian(sample);
  Rng rng(7);
  const auto rounded = [](double v) {
    return static_cast<uint16_t>((half_from_float(static_cast<float>(v)) + 16) & ~31);
  };
  for (int64_t i = 0; i < q.cols; ++i) {
    double squares = 0;
    for (int64_t r = 0; r < q.rows; ++r) squares += std::pow(q.codes(r, i), 2) + 0.1;
    q.column_scale.half.push_back(
        rounded(std::exp2(0.2 * rng.normal()) / std::sqrt(squares / static_cast<double>(q.rows))));
  }
  for (int64_t r = 0; r < q.rows; ++r) q.row_scale.half.push_back(rounded(1 + 0.03 * rng.normal()));
  const auto n = static_cast<double>(q.codes.size());
  std::vector<std::byte> blob;
  double estimated = 0;
  const double encode = seconds_of([&] { blob = encode_tensor(q, pool); });
  const double decode = seconds_of([&] { decode_tensor(blob, pool, "bench"); });
  const double scalar =
      seconds_of([&] { decode_tensor(blob, pool, "bench", DecoderKind::kScalar); });
  const double estimate =
      seconds_of([&] { estimated = class_entropy(q.codes, q.trellis > 0, pool); });
  const TensorSummary s = summarize_tensor(blob, "bench");
  const double ideal = ideal_bits(q) / n;
  state.counters = {{"ideal_bits", ideal},
                    {"coded_bits", s.bits.coded / n},
                    {"above_ideal_bits", s.bits.coded / n - ideal},
                    {"estimate_error_bits", estimated - s.bits.coded / n},
                    {"side_bits", s.bits.side / n},
                    {"lanes", s.lanes},
                    {"classes", static_cast<double>(s.classes)},
                    {"row_classes", s.row_classes ? 1 : 0},
                    {"precision", s.precision},
                    {"encoded_per_second", n / encode},
                    {"decoded_per_second", n / decode},
                    {"decoded_scalar_per_second", n / scalar},
                    {"estimate_seconds", estimate}};
}

void measure(benchmark::State& state, const Sample& sample) {
  ThreadPool pool(1);
  while (state.KeepRunning()) measure_once(state, sample, pool);
}

// Tile after tile with each instruction set that the machine has. Small tiles, and the best time of
// each: other programs take time and caches, but not always.
void measure_target(benchmark::State& state, const Sample& sample, int64_t target) {
  ThreadPool pool(1);
  CodingPlan plan;
  plan.group_columns = 128;
  const auto blob = encode_tensor(gaussian(sample), plan, pool);
  const TensorDecoder decoder(blob, "bench");
  Matrix<int32_t> codes(sample.rows, plan.group_columns);
  double seconds = 0;
  hwy::SetSupportedTargetsForTest(target);
  while (state.KeepRunning()) {
    for (int64_t t = 0; t < decoder.grid().tiles(); ++t)
      seconds += seconds_of([&] { decoder.decode(t, codes); });
  }
  hwy::SetSupportedTargetsForTest(0);
  state.counters["decoded_per_second"] = static_cast<double>(sample.rows * sample.cols) / seconds;
}

const int registered = [] {
  for (const int bits : {2, 3, 5}) {
    for (const double rows : {0.0, 0.3}) {
      const Sample sample = {.rows = 1024,
                             .cols = 1024,
                             .spread = spread_of(bits),
                             .column_octaves = 0.7,
                             .row_octaves = rows,
                             .trellis = 64,
                             .segment_rows = 1024};
      for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
        const std::string name =
            fmt::format("tiles/bits:{}/row_octaves:{}/{}", bits, rows, hwy::TargetName(target));
        benchmark::RegisterBenchmark(name.c_str(), measure_target, sample, target)->Iterations(1);
      }
    }
  }
  const int64_t shapes[][2] = {{256, 256}, {704, 256}, {1024, 512}, {4096, 4096}};
  for (const auto& [rows, cols] : shapes) {
    for (const int trellis : {0, 8, 64}) {
      for (const double octaves : {0.0, 0.7}) {
        for (const int bits : {1, 2, 3, 4}) {
          if (trellis == 64 && (bits != 2 || octaves == 0)) continue;
          const Sample sample = {.rows = rows,
                                 .cols = cols,
                                 .spread = spread_of(bits),
                                 .column_octaves = octaves,
                                 .trellis = trellis,
                                 .segment_rows = rows};
          const std::string name = fmt::format("tensor/{}x{}/bits:{}/trellis:{}/octaves:{}", rows,
                                               cols, bits, trellis, octaves);
          benchmark::RegisterBenchmark(name.c_str(), measure, sample)->Iterations(1);
        }
      }
    }
  }
  return 0;
}();

}  // namespace
}  // namespace watersic
