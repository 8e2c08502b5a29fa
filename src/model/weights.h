// Where a model's tensors come from: a checkpoint, a container, or memory. Names are those of the
// Hugging Face checkpoint ("model.layers.0.self_attn.q_proj.weight").
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "watersic/matrix.h"

namespace watersic {

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  virtual std::vector<std::string> names() const = 0;
  virtual bool has(const std::string& name) const = 0;
  // Rows and columns; a vector has one row. Error where there is no such tensor.
  struct Shape {
    int64_t rows = 0, cols = 0;
    bool operator==(const Shape&) const = default;
  };
  virtual Shape shape(const std::string& name) const = 0;
  // The tensor in float32. Throws Error, naming it, where it is missing or holds NaN or infinity.
  virtual Matrix<float> matrix(const std::string& name) const = 0;
  // Some rows only (an embedding is looked up, never held whole).
  virtual Matrix<float> rows(const std::string& name, const std::vector<int32_t>& rows) const = 0;

  // Where a tensor lies in 16 bits, row by row, for those who read it there; none where it is
  // stored otherwise. Its values are not checked.
  struct Halves {
    std::span<const uint16_t> values;
    bool bf16 = false;  // else IEEE half
  };
  virtual std::optional<Halves> halves(const std::string& /*name*/) const { return {}; }

  std::vector<float> vector(const std::string& name) const {
    const Matrix<float> m = matrix(name);
    return {m.values().begin(), m.values().end()};
  }
};

}  // namespace watersic
