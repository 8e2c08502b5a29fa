// One matrix of a model that is open, for programs that have a forward pass of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "watersic/matrix.h"
#include "watersic/session.h"

namespace watersic {

// Multiplies with weights as the model holds them (OpenOptions::weights), so with the numbers that
// the model itself runs by. Keeps the model alive. May be used by many threads at once; what they
// compute takes turns on the model's threads.
class ModelLayer {
 public:
  // `weight`: one of Model::tensors() with two dimensions. Its bias, if it has one, comes with it.
  // Throws Error.
  ModelLayer(const Model& model, const std::string& weight);
  ModelLayer(ModelLayer&&) noexcept;
  ModelLayer& operator=(ModelLayer&&) noexcept;
  ~ModelLayer();

  int64_t outputs() const;
  int64_t inputs() const;
  int64_t bytes() const;  // of memory
  bool has_bias() const;

  // Y = X V^T + bias: tokens x outputs, of X, tokens x inputs. Throws Error where X has another
  // number of columns or holds NaN or infinity.
  Matrix<float> apply(MatrixView<const float> X) const;
  // Rows of V, as an embedding is read: ids.size() x inputs. Throws Error for a row that is none.
  Matrix<float> rows(std::span<const int32_t> ids) const;
  // Where embedding and head are held as one matrix in another basis, the embedding has rows alone
  // and the head products; the other throws Error.

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace watersic
