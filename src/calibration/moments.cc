#include "calibration/moments.h"

#include <utility>

#include "linalg/blas.h"

namespace watersic {

void SecondMoment::add(ThreadPool& pool, MatrixView<const float> X) {
  if (sum_.empty()) sum_ = Matrix<double>(X.cols(), X.cols());
  add_gram(pool, X, sum_);
  tokens_ += X.rows();
}

void SecondMoment::merge(const SecondMoment& other) {
  if (other.tokens_ == 0) return;
  if (sum_.empty()) sum_ = Matrix<double>(other.sum_.rows(), other.sum_.cols());
  assert(sum_.rows() == other.sum_.rows());
  for (size_t i = 0; i < sum_.values().size(); ++i) sum_.values()[i] += other.sum_.values()[i];
  tokens_ += other.tokens_;
}

Matrix<double> SecondMoment::take() {
  assert(tokens_ > 0);
  const double scale = 1.0 / static_cast<double>(tokens_);
  for (double& s : sum_.values()) s *= scale;
  tokens_ = 0;
  return std::exchange(sum_, Matrix<double>());
}

}  // namespace watersic
