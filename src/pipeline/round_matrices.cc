#include "pipeline/round_matrices.h"

#include <utility>

namespace watersic {

void RoundMatrices::push_back(Matrix<float> matrix) {
  if (in_file_) {
    places_.push_back({scratch_.put(matrix.values()), matrix.rows(), matrix.cols()});
  } else {
    matrices_.push_back(std::move(matrix));
  }
}

Matrix<float>& RoundMatrices::operator[](size_t round) {
  if (!in_file_) return matrices_[round];
  if (!current_.empty() && held_ == round) return current_;
  if (!current_.empty()) scratch_.replace(places_[held_].at, current_.values());
  const auto [at, rows, cols] = places_[round];
  if (current_.rows() != rows || current_.cols() != cols) current_ = Matrix<float>(rows, cols);
  scratch_.get(at, current_.values());
  held_ = round;
  return current_;
}

}  // namespace watersic
