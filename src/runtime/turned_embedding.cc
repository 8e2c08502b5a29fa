#include <algorithm>

#include "runtime/layers.h"

namespace watersic {
namespace {

std::unique_ptr<const LinearLayer> layer_of(Matrix<float> W, bool exact) {
  if (exact) return std::make_unique<DenseLayer>(std::move(W));
  return std::make_unique<HalfLayer>(HalfKind::kHalf, W, std::vector<float>(), kAnyNumber);
}

Matrix<float> transposed(MatrixView<const float> A, bool turn) {
  Matrix<float> out(A.cols(), A.rows());
  for (int64_t i = 0; i < A.rows(); ++i)
    for (int64_t j = 0; j < A.cols(); ++j) (turn ? out(j, i) : out(i, j)) = A(i, j);
  return out;
}

}  // namespace

TurnedEmbedding::TurnedEmbedding(std::shared_ptr<const LinearLayer> E, MatrixView<const float> Q,
                                 std::vector<float> gain, bool exact)
    : E_(std::move(E)),
      Q_(layer_of(transposed(Q, false), exact)),
      Q_transposed_(layer_of(transposed(Q, true), exact)),
      gain_(std::move(gain)) {}

int64_t TurnedEmbedding::bytes() const {
  return E_->bytes() + Q_->bytes() + Q_transposed_->bytes() +
         static_cast<int64_t>(gain_.size() * sizeof(float));
}

int64_t TurnedEmbedding::independent_tokens() const {
  return std::min(
      {E_->independent_tokens(), Q_->independent_tokens(), Q_transposed_->independent_tokens()});
}

void TurnedEmbedding::apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
                            MatrixView<float> Y) const {
  Matrix<float> turned(X.rows(), X.cols());
  Q_->apply(pool, length, X, 0, turned);
  for (int64_t i = 0; i < turned.rows(); ++i)
    for (int64_t j = 0; j < turned.cols(); ++j) turned(i, j) *= gain_[static_cast<size_t>(j)];
  E_->apply(pool, length, turned, beta, Y);
}

Matrix<float> TurnedEmbedding::rows(ThreadPool& pool, std::span<const int32_t> ids) const {
  const Matrix<float> native = E_->rows(pool, ids);
  Matrix<float> out(native.rows(), native.cols());
  Q_transposed_->apply(pool, native.rows(), native, 0, out);
  return out;
}

}  // namespace watersic
