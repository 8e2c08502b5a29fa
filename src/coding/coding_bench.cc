// Sizes above entropy and speed of the coder on Gaussian integers: coding_bench [threads]
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>

#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"

using namespace watersic;  // NOLINT: a program

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  ThreadPool pool(argc > 1 ? std::atoi(argv[1]) : 1);
  fmt::print("{:>11} {:>4} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6} {:>9} {:>9} {:>9}\n", "shape",
             "bits", "entropy", "coded", "above", "estimate", "lanes", "prec.", "enc M/s",
             "dec M/s", "est ms");
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
      double encode = 1e9, decode = 1e9, estimate = 1e9, estimated = 0;
      for (int i = 0; i < 3; ++i) {
        auto start = std::chrono::steady_clock::now();
        blob = encode_tensor(q, pool);
        encode = std::min(encode, seconds_since(start));
        start = std::chrono::steady_clock::now();
        const QuantizedTensor back = decode_tensor(blob, pool, "bench");
        decode = std::min(decode, seconds_since(start));
        if (back.codes.values().back() != q.codes.values().back()) return 1;
        start = std::chrono::steady_clock::now();
        estimated = estimate_coded_bits(q.codes);
        estimate = std::min(estimate, seconds_since(start));
      }
      const TensorSummary s = summarize_tensor(blob, "bench");
      const double entropy = pooled_entropy(q.codes);
      fmt::print(
          "{:>11} {:>4} {:>9.5f} {:>9.5f} {:>9.5f} {:>9.5f} {:>6} {:>6} {:>9.0f} {:>9.0f} "
          "{:>9.2f}\n",
          fmt::format("{}x{}", rows, cols), bits, entropy, s.bits.coded / n,
          s.bits.coded / n - entropy, estimated / n, s.lanes, s.precision, n / encode / 1e6,
          n / decode / 1e6, estimate * 1e3);
    }
  }
}
