#include "watersic/layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "api/check_problem.h"
#include "base/hash.h"
#include "coding/dec_tensor.h"
#include "encode/encode_layer.h"
#include "io/json.h"
#include "linalg/blas.h"
#include "pipeline/report.h"
#include "quant/limit.h"
#include "quant/means.h"
#include "quant/method.h"
#include "watersic/error.h"

namespace watersic {
namespace {

Matrix<double> copy_of(MatrixView<const double> S) {
  Matrix<double> copy(S.rows(), S.cols());
  for (int64_t i = 0; i < S.rows(); ++i)
    std::copy(S.row(i).begin(), S.row(i).end(), copy.row(i).begin());
  return copy;
}

}  // namespace

LayerResult quantize_layer(MatrixView<const float> W, MatrixView<const double> S,
                           const LayerOptions& options, MatrixView<const double> output_metric) {
  const auto start = std::chrono::steady_clock::now();
  check_options(options);
  check_weights(W);
  check_covariance(S, W.cols());
  const bool weighted = output_metric.rows() > 0;
  if (weighted) {
    check_output_metric(output_metric, W.rows());
    if (!has_column_steps(options.method) || settled(options).lmmse)
      throw Error("output metric: expected method watersic without LMMSE");
  }
  ThreadPool pool(options.threads);
  EncodedLayer encoded =
      encode_layer(pool, {.W = W, .S = S, .output_metric = output_metric}, options);

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

  const double variance = mean_square(W);
  const std::vector<double> inputs = symmetric_eigenvalues(copy_of(S));
  result.weighted_distortion = encoded.weighted_distortion;
  result.limit_bits =
      weighted ? rate_at_weighted_distortion(inputs, symmetric_eigenvalues(copy_of(output_metric)),
                                             variance, result.weighted_distortion)
                     .bits
               : rate_at_distortion(inputs, variance, result.distortion).bits;
  result.gap = result.bits.coded - result.limit_bits;
  return result;
}

EigenBasis to_eigenbasis(MatrixView<const float> W, MatrixView<const double> S, int threads) {
  check_weights(W);
  check_covariance(S, W.cols());
  ThreadPool pool(threads);
  const int64_t n = W.cols();
  SymmetricEigen eigen = symmetric_eigen(copy_of(S));  // rising; here they shall fall
  EigenBasis basis{Matrix<float>(W.rows(), n), Matrix<double>(n, n), Matrix<double>(n, n)};
  for (int64_t j = 0; j < n; ++j) {
    basis.S(j, j) = std::max(0.0, eigen.values[static_cast<size_t>(n - 1 - j)]);
    for (int64_t i = 0; i < n; ++i) basis.Q(i, j) = eigen.vectors(n - 1 - j, i);
  }
  Matrix<double> wide(W.rows(), n), turned(W.rows(), n);
  for (int64_t k = 0; k < W.rows(); ++k)
    std::copy(W.row(k).begin(), W.row(k).end(), wide.row(k).begin());
  gemm(pool, Op::kNone, Op::kNone, 1.0, wide, basis.Q, 0.0, turned);
  std::copy(turned.values().begin(), turned.values().end(), basis.W.data());
  return basis;
}

Matrix<float> from_eigenbasis(MatrixView<const float> V, MatrixView<const double> Q, int threads) {
  ThreadPool pool(threads);
  Matrix<double> wide(V.rows(), V.cols()), turned(V.rows(), V.cols());
  for (int64_t k = 0; k < V.rows(); ++k)
    std::copy(V.row(k).begin(), V.row(k).end(), wide.row(k).begin());
  gemm(pool, Op::kNone, Op::kTranspose, 1.0, wide, Q, 0.0, turned);
  Matrix<float> out(V.rows(), V.cols());
  std::copy(turned.values().begin(), turned.values().end(), out.data());
  return out;
}

std::string to_json(const LayerResult& r) {
  Json json = {
      {"schema", "watersic.layer/1"},
      {"model_id", r.model_id},
      {"method", name_of(r.method)},
      {"rows", r.rows},
      {"cols", r.cols},
      {"target_bits", r.target_bits},
      {"bits", bits_json(r.bits)},
      {"distortion", r.distortion},
      {"limit_bits", r.limit_bits},
      {"gap", r.gap},
      {"dead", r.dead},
      {"damping", r.damping},
      {"step", r.step},
      {"seconds", r.seconds},
  };
  if (r.weighted_distortion > 0) json["weighted_distortion"] = r.weighted_distortion;
  return json.dump(2) + "\n";
}

}  // namespace watersic
