// Sizes above entropy, and speed on one core, of the coder on Gaussian integers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_estimate.h"
#include "coding/enc_tensor.h"
#include "coding/sample_tensors.h"

using namespace watersic;  // NOLINT: a program

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
void measure(const Sample& sample, double bits, ThreadPool& pool) {
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
  fmt::print(
      "{:>10} {:>4} {:>4} {:>3.1f} {:>8.5f} {:>8.5f} {:>8.5f} {:>8.5f} {:>8.5f} {:>5} {:>4}{} "
      "{:>5} "
      "{:>6.0f} {:>6.0f} {:>6.0f} {:>7.2f}\n",
      fmt::format("{}x{}", q.rows, q.cols), bits, q.trellis, sample.column_octaves, ideal,
      s.bits.coded / n, s.bits.coded / n - ideal, estimated - s.bits.coded / n, s.bits.side / n,
      s.lanes, s.classes, s.row_classes ? "r" : " ", s.precision, n / encode / 1e6,
      n / decode / 1e6, n / scalar / 1e6, estimate * 1e3);
}

}  // namespace

int main() {
  ThreadPool pool(1);
  fmt::print(
      "{:>10} {:>4} {:>4} {:>3} {:>8} {:>8} {:>8} {:>8} {:>8} {:>5} {:>5} {:>5} {:>6} {:>6} {:>6} "
      "{:>7}\n",
      "shape", "bits", "tr.", "oct", "ideal", "coded", "above", "estimate", "side", "lanes",
      "class", "prec.", "enc M/s", "dec M/s", "scalar", "est ms");
  const int64_t shapes[][2] = {{256, 256}, {704, 256}, {1024, 512}, {4096, 4096}};
  for (const auto& [rows, cols] : shapes) {
    for (const int trellis : {0, 8, 64}) {
      for (const double octaves : {0.0, 0.7}) {
        for (const int bits : {1, 2, 3, 4}) {
          if (trellis == 64 && (bits != 2 || octaves == 0)) continue;
          measure({.rows = rows,
                   .cols = cols,
                   .spread = spread_of(bits),
                   .column_octaves = octaves,
                   .trellis = trellis,
                   .segment_rows = rows},
                  bits, pool);
        }
      }
    }
  }
}
