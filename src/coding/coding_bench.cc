// Sizes above entropy, and speed on one core, of the coder on Gaussian integers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"

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

}  // namespace

int main() {
  ThreadPool pool(1);
  fmt::print("{:>10} {:>4} {:>9} {:>9} {:>9} {:>9} {:>5} {:>5} {:>7} {:>7} {:>7} {:>7}\n", "shape",
             "bits", "entropy", "coded", "above", "estimate", "lanes", "prec.", "enc M/s",
             "dec M/s", "scalar", "est ms");
  const int64_t shapes[][2] = {{256, 256}, {704, 256}, {1024, 512}, {4096, 4096}};
  for (const auto& [rows, cols] : shapes) {
    for (const int bits : {1, 2, 3, 4, 8}) {
      // At a spread s the entropy is about log2(s sqrt(2 pi e)).
      const double spread = bits == 1 ? 0.44 : std::exp2(bits) / std::sqrt(2 * M_PI * M_E);
      QuantizedTensor q;
      q.rows = rows;
      q.cols = cols;
      q.codes = Matrix<int32_t>(rows, cols);
      Rng rng(static_cast<uint64_t>(rows * 100 + bits));
      for (int32_t& v : q.codes.values())
        v = static_cast<int32_t>(std::lround(spread * rng.normal()));
      const auto n = static_cast<double>(rows * cols);
      std::vector<std::byte> blob;
      double estimated = 0;
      const double encode = seconds_of([&] { blob = encode_tensor(q, pool); });
      const double decode = seconds_of([&] { decode_tensor(blob, pool, "bench"); });
      const double scalar =
          seconds_of([&] { decode_tensor(blob, pool, "bench", DecoderKind::kScalar); });
      const double estimate = seconds_of([&] { estimated = estimate_coded_bits(q.codes); });
      const TensorSummary s = summarize_tensor(blob, "bench");
      const double entropy = pooled_entropy(q.codes);
      fmt::print(
          "{:>10} {:>4} {:>9.5f} {:>9.5f} {:>9.5f} {:>9.5f} {:>5} {:>5} {:>7.0f} {:>7.0f} {:>7.0f} "
          "{:>7.2f}\n",
          fmt::format("{}x{}", rows, cols), bits, entropy, s.bits.coded / n,
          s.bits.coded / n - entropy, estimated / n, s.lanes, s.precision, n / encode / 1e6,
          n / decode / 1e6, n / scalar / 1e6, estimate * 1e3);
    }
  }
}
