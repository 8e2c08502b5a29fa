// The matrices of a stream, one for each round of batches: in memory, or in a temporary file and
// one of them in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "io/scratch_file.h"
#include "watersic/matrix.h"

namespace watersic {

class RoundMatrices {
 public:
  // `scratch`: beside which a temporary file is made; empty: all are in memory.
  explicit RoundMatrices(std::filesystem::path scratch = {})
      : in_file_(!scratch.empty()), scratch_(std::move(scratch)) {}

  void push_back(Matrix<float> matrix);
  size_t size() const { return in_file_ ? places_.size() : matrices_.size(); }
  // Valid until another is asked for. Throws Error where the file fails.
  Matrix<float>& operator[](size_t round);

 private:
  struct Place {
    int64_t at, rows, cols;
  };

  bool in_file_;
  std::vector<Matrix<float>> matrices_;
  ScratchFile scratch_;
  std::vector<Place> places_;
  size_t held_ = 0;  // which one `current_` is; it may have been changed since it was read
  Matrix<float> current_;
};

}  // namespace watersic
