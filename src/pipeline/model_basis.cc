#include "pipeline/model_basis.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "coding/dec_tensor.h"
#include "coding/enc_tensor.h"
#include "container/common_format.h"
#include "linalg/blas.h"
#include "model/orthonormal.h"
#include "quant/method.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// The squared error of an axis, a unit, that varies as most do: entries of a little less than 3
// bits. Half or twice of it makes no difference to the KL.
constexpr double kAxisError = 0.05;
constexpr double kBitsOfAnEntry = 3;  // as they come out

}  // namespace

Matrix<double> turned(ThreadPool& pool, const Matrix<float>& Q, const Matrix<double>& S) {
  Matrix<double> wide(Q.rows(), Q.cols()), left(Q.rows(), Q.cols()), out(Q.rows(), Q.rows());
  std::ranges::copy(Q.values(), wide.values().begin());
  gemm(pool, Op::kNone, Op::kNone, 1.0, wide, S, 0.0, left);
  gemm(pool, Op::kNone, Op::kTranspose, 1.0, left, wide, 0.0, out);
  return out;
}

double axes_bits(const ModelConfig& config, Basis basis) {
  const auto n = static_cast<double>(config.hidden);
  return basis == Basis::kPrincipal && config.tied_embeddings ? kBitsOfAnEntry * n * n : 0;
}

Basis resolved_basis(const ModelConfig& config, const QuantizeOptions& options) {
  // Bits a weight. On the models of docs/results.md, axes of 0.043 pay at all rates up to 3 bits.
  constexpr double kMost = 1.0 / 12;
  const bool calibrated = options.calibration.source != CalibrationOptions::Source::kNone;
  if (const auto& basis = options.model.basis) {
    if (*basis != Basis::kNative && !calibrated) throw Error("basis: needs calibration");
    return *basis;
  }
  if (!calibrated || !knows_model(options.method)) return Basis::kNative;
  double weights = 0;
  for (const LinearSite& site : linear_sites(config, 0))
    weights += static_cast<double>(site.rows * site.cols * config.blocks);
  return axes_bits(config, Basis::kPrincipal) < kMost * weights ? Basis::kPrincipal : Basis::kHeads;
}

std::vector<std::byte> encode_axes(ThreadPool& pool, MatrixView<const float> stream,
                                   std::span<const double> variances) {
  const int64_t n = stream.rows();
  const double floor = variances.front() * 1e-12;
  double logs = 0;
  for (const double v : variances) logs += std::log(std::max(v, floor));
  const double typical = std::exp(logs / static_cast<double>(n));
  QuantizedTensor tensor{.rows = n, .cols = n};
  tensor.codes = Matrix<int32_t>(n, n);
  tensor.column_scale.half = {half_from_float(1)};
  for (int64_t i = 0; i < n; ++i) {
    const double v = std::max(variances[static_cast<size_t>(i)], floor);
    const double error = kAxisError * std::min(1.0, typical / v);
    tensor.row_scale.half.push_back(
        half_from_float(static_cast<float>(std::sqrt(12 * error / static_cast<double>(n)))));
    const auto step = static_cast<double>(tensor.row_scale.value(i));
    for (int64_t j = 0; j < n; ++j)
      tensor.codes(i, j) =
          static_cast<int32_t>(std::lround(static_cast<double>(stream(j, i)) / step));
  }
  return encode_tensor(tensor, pool);
}

Matrix<float> decode_axes(ThreadPool& pool, std::span<const std::byte> coded) {
  return stream_from_axes(pool, dequantize(decode_tensor(coded, pool, kBasisName)));
}

ModelBasis::ModelBasis(ThreadPool& pool, const ModelConfig& config, const WeightSource& original)
    : pool_(pool),
      original_config_(config),
      original_(original),
      config_(config),
      weights_(&original),
      stored_(&original) {}

void ModelBasis::turn(SavedBasis basis) {
  config_ = rotated_config(original_config_, basis.rotation);
  axes_ = std::move(basis.axes);
  const RotatedPart part = axes_.empty() ? RotatedPart::kAll : RotatedPart::kBlocks;
  rotated_blocks_ =
      std::make_unique<RotatedSource>(pool_, original_config_, original_, basis.rotation, part);
  weights_ = stored_ = rotated_blocks_.get();
  if (axes_.empty()) return;
  rotated_ = std::make_unique<RotatedSource>(pool_, original_config_, *stored_, basis.rotation,
                                             RotatedPart::kEnds);
  weights_ = rotated_.get();
  stream_ = std::move(basis.rotation.stream);
}

Matrix<float> ModelBasis::to_stream(Matrix<float> X) const {
  if (stream_.empty()) return X;
  Matrix<float> out(X.rows(), X.cols());
  gemm(pool_, Op::kNone, Op::kNone, 1.0F, X, stream_, 0.0F, out);
  return out;
}

// An error e of a row is one of e Q of the stream.
Matrix<double> ModelBasis::from_stream(Matrix<double> S) const {
  return stream_.empty() ? std::move(S) : turned(pool_, stream_, S);
}

// And one of e D Q of the head's row, D the gain of the final norm.
Matrix<double> ModelBasis::from_head(Matrix<double> S) const {
  if (stream_.empty()) return S;
  Matrix<double> out = turned(pool_, stream_, S);
  const std::vector<float> gain = stored_->vector(kFinalNorm);
  for (int64_t i = 0; i < out.rows(); ++i)
    for (int64_t j = 0; j < out.cols(); ++j)
      out(i, j) *= static_cast<double>(gain[static_cast<size_t>(i)]) *
                   static_cast<double>(gain[static_cast<size_t>(j)]);
  return out;
}

}  // namespace watersic
