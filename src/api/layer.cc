#include "watersic/layer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "base/hash.h"
#include "coding/dec_tensor.h"
#include "encode/encode_layer.h"
#include "io/json.h"
#include "linalg/blas.h"
#include "quant/limit.h"
#include "watersic/error.h"

namespace watersic {
namespace {

void check_problem(MatrixView<const float> W, MatrixView<const double> S) {
  const int64_t n = W.cols();
  if (W.rows() == 0 || n == 0)
    throw Error(fmt::format("weights: expected a matrix, found {} x {}", W.rows(), n));
  if (S.rows() != n || S.cols() != n) {
    throw Error(
        fmt::format("covariance: expected {} x {} (the weights have {} columns), found {} x {}", n,
                    n, n, S.rows(), S.cols()));
  }
  for (int64_t k = 0; k < W.rows(); ++k)
    for (int64_t j = 0; j < n; ++j)
      if (!std::isfinite(W(k, j)))
        throw Error(fmt::format("weights: found {} at row {}, column {}", W(k, j), k, j));
  double largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      if (!std::isfinite(S(i, j)))
        throw Error(fmt::format("covariance: found {} at row {}, column {}", S(i, j), i, j));
    }
    largest = std::max(largest, std::fabs(S(i, i)));
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      if (std::fabs(S(i, j) - S(j, i)) > 1e-6 * largest) {
        throw Error(fmt::format(
            "covariance: expected a symmetric matrix, found {} at ({}, {}) and {} at ({}, {})",
            S(i, j), i, j, S(j, i), j, i));
      }
    }
  }
}

}  // namespace

LayerResult quantize_layer(MatrixView<const float> W, MatrixView<const double> S,
                           const LayerOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  check_options(options);
  check_problem(W, S);
  ThreadPool pool(options.threads);
  EncodedLayer encoded = encode_layer(pool, {W, S}, options);

  LayerResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.rows = W.rows();
  result.cols = W.cols();
  result.method = options.method;
  result.target_bits = options.bits;
  result.bits = encoded.bits;
  result.distortion = encoded.distortion;
  result.dead = static_cast<int64_t>(encoded.tensor.dead.size());
  result.damping = encoded.damping;
  result.step = encoded.step;
  result.dequantized = dequantize(encoded.tensor);
  result.coded = std::move(encoded.bytes);
  result.model_id = hex_hash(result.coded);

  double variance = 0;
  for (int64_t k = 0; k < W.rows(); ++k)
    for (const float w : W.row(k))
      variance += static_cast<double>(w) * w / static_cast<double>(W.size());
  Matrix<double> copy(S.rows(), S.cols());
  for (int64_t i = 0; i < S.rows(); ++i)
    std::copy(S.row(i).begin(), S.row(i).end(), copy.row(i).begin());
  const std::vector<double> eigenvalues = symmetric_eigenvalues(std::move(copy));
  result.limit_bits = rate_at_distortion(eigenvalues, variance, result.distortion).bits;
  result.gap = result.bits.coded - result.limit_bits;
  return result;
}

std::string to_json(const LayerResult& r) {
  const Json json = {
      {"schema", "watersic.layer/1"},
      {"model_id", r.model_id},
      {"method", method_name(r.method)},
      {"rows", r.rows},
      {"cols", r.cols},
      {"target_bits", r.target_bits},
      {"bits",
       {{"file", r.bits.file},
        {"coded", r.bits.coded},
        {"side", r.bits.side},
        {"pooled_entropy", r.bits.pooled_entropy},
        {"paper_rate", r.bits.paper_rate}}},
      {"distortion", r.distortion},
      {"limit_bits", r.limit_bits},
      {"gap", r.gap},
      {"dead", r.dead},
      {"damping", r.damping},
      {"step", r.step},
      {"seconds", r.seconds},
  };
  return json.dump(2) + "\n";
}

}  // namespace watersic
