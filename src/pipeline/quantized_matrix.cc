#include "pipeline/quantized_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "container/common_format.h"
#include "encode/encode_layer.h"
#include "pipeline/report.h"
#include "quant/distortion.h"
#include "quant/layer.h"
#include "watersic/error.h"

namespace watersic {

size_t stored_size(size_t coded) {
  constexpr size_t kEntry = 40;
  return (coded + kAlignment - 1) / kAlignment * kAlignment + kEntry;
}

QuantizedMatrix quantize_matrix(ThreadPool& pool, const std::string& name,
                                const LayerProblem& problem, const QuantizerOptions& options,
                                double tolerance) {
  const auto start = std::chrono::steady_clock::now();
  EncodedLayer encoded;
  try {
    encoded = encode_layer(pool, problem, options, stored_size, tolerance);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}", name, e.what()));
  }
  LayerReport out{.name = name,
                  .rows = problem.W.rows(),
                  .cols = problem.W.cols(),
                  .target_bits = options.bits,
                  .bits = encoded.bits};
  out.distortion = encoded.distortion;
  out.dead = static_cast<int64_t>(encoded.tensor.dead.size());
  out.damping = encoded.damping;
  out.damping_asked = settled(options).damping;
  out.step = encoded.step;
  out.column_factors = quantiles(encoded.gamma);
  describe_tensor(encoded.tensor, out);
  out.relative_distortion = out.distortion / std::max(1e-300, signal(pool, problem.W, problem.S));
  out.weighted_distortion = encoded.weighted_distortion;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {.report = std::move(out), .bytes = std::move(encoded.bytes)};
}

}  // namespace watersic
