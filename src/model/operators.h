// What a block does to activations besides its linear layers and attention.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/threads.h"
#include "model/rope.h"
#include "watersic/matrix.h"

namespace watersic {

// Calls body(row) for all rows, many at a time.
void by_rows(ThreadPool& pool, int64_t rows, const std::function<void(int64_t)>& body);

// Y = X / rms(X) * weight, row by row; the squares are summed in float64. X and Y may be the same.
void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y);
// Over all rows of X; Y likewise.
void rms_norm(ThreadPool& pool, MatrixView<const float> X, std::span<const float> weight,
              double epsilon, MatrixView<float> Y);

// softmax(x) in place; sums in float64.
void softmax(std::span<float> x);
// gate := silu(gate) * up
void gate_with(std::span<float> gate, std::span<const float> up);

// The operators of rows behind one face, so that what runs a model may bring faster ones. These are
// the reference, which training and evaluation are defined by.
class Operators {
 public:
  virtual ~Operators() = default;
  static const Operators& reference();

  virtual void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
                        std::span<float> y) const;
  virtual void softmax(std::span<float> x) const;
  virtual void gate_with(std::span<float> gate, std::span<const float> up) const;
  virtual void rotate(const RopeTable& rope, int64_t position, std::span<float> head) const;
};

// Error "block B: WHAT: expected finite values, ..." where X holds NaN or infinity.
void check_finite(ThreadPool& pool, int64_t block, const char* what, MatrixView<const float> X);

}  // namespace watersic
