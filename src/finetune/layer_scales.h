// The scales of one quantized tensor as parameters: each is what is stored times a factor that
// starts at 1, rounded to the precision that the file gives it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "coding/common_tensor.h"
#include "watersic/matrix.h"

namespace watersic {

class LayerScales {
 public:
  explicit LayerScales(const QuantizedTensor& tensor);

  // The factors: of the row scales, the column scales and the group scales, those that are stored.
  size_t count() const;
  void set(std::span<const double> factors);
  // Whether rounding has left any scale other than it was stored.
  bool changed() const;
  // Gives the scales to the tensor, or another with the same shape.
  void apply(QuantizedTensor& tensor) const;

  // gradient += the gradient with respect to the factors, for V as dequantized with the scales and
  // the gradient dV. Rounding counts as the identity (a straight-through gradient).
  void add_gradient(ThreadPool& pool, MatrixView<const float> V, MatrixView<const float> dV,
                    std::span<double> gradient) const;

 private:
  struct Set {
    Scales stored, now;
    int zeros = 0;  // bits of each half that stay zero

    explicit Set(const Scales& scales);
    size_t count() const { return stored.half.size(); }
    // Of `logarithmic`, with respect to a scale's logarithm, to that with respect to its factor.
    void add_gradient(std::span<const double> logarithmic, std::span<double> gradient) const;
  };

  int64_t rows_, cols_, groups_;
  uint32_t rotation_;
  int64_t strands_;
  std::vector<int32_t> row_order_;  // of rows that have an order of their own
  std::vector<int64_t> live_;
  std::vector<int32_t> column_group_;
  Set row_, column_, group_;
};

}  // namespace watersic
