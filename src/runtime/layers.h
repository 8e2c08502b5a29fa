// Layers that run from what a file holds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bitshift.h"
#include "base/rotation.h"
#include "base/threads.h"
#include "coding/dec_tensor.h"
#include "kernels/bitshift_multiply.h"
#include "kernels/half_product.h"
#include "kernels/packed_multiply.h"
#include "model/linear_layer.h"
#include "watersic/matrix.h"

namespace watersic {

// A layer of integers and scales. What is held may be V R, R a random rotation: inputs and rows go
// through it.
class IntegerLayer : public LinearLayer {
 public:
  int64_t independent_tokens() const final { return kAnyNumber; }
  void apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
             MatrixView<float> Y) const final;
  Matrix<float> rows(ThreadPool& pool, std::span<const int32_t> ids) const final;

 protected:
  // rotation: R's seed; 0: none.
  IntegerLayer(int64_t inputs, uint32_t rotation, std::vector<float> bias,
               InputPrecision precision);
  std::span<const float> bias() const { return bias_; }
  InputPrecision precision() const { return precision_; }
  int64_t bias_bytes() const { return static_cast<int64_t>(bias_.size() * sizeof(float)); }

 private:
  // With what is held: Y = X V^T + bias + beta Y, and a row of V.
  virtual void multiply(ThreadPool& pool, MatrixView<const float> X, float beta,
                        MatrixView<float> Y) const = 0;
  virtual void read_row(int64_t output, std::span<float> out) const = 0;

  std::unique_ptr<RandomRotation> rotation_;
  std::vector<float> bias_;
  InputPrecision precision_;
};

// The inputs of a tensor's live columns, rising.
std::vector<int32_t> live_inputs(const QuantizedTensor& q);

// A coded tensor's integers, in the narrowest widths that hold them (kernels/packed_matrix.h).
class PackedLayer final : public IntegerLayer {
 public:
  // Decodes the tensor tile by tile and on all threads, a part of it twice: what is in memory
  // beside the packed matrix is a tile for each thread. Throws Error.
  PackedLayer(ThreadPool& pool, const TensorDecoder& decoder, std::vector<float> bias,
              InputPrecision precision);

  int64_t outputs() const override { return M_.rows; }
  int64_t inputs() const override { return M_.inputs; }
  int64_t bytes() const override { return M_.bytes() + bias_bytes(); }

 private:
  void multiply(ThreadPool& pool, MatrixView<const float> X, float beta,
                MatrixView<float> Y) const override;
  void read_row(int64_t output, std::span<float> out) const override;

  PackedMatrix M_;
};

// A tensor in the bitshift layout, of which q has the scales, the dead columns and the strands,
// `stream` and `payload` the integers. The payload must outlive the matrix.
BitshiftMatrix bitshift_matrix(const QuantizedTensor& q, Bitshift stream,
                               std::span<const uint8_t> payload);

// Runs from the bits as they lie in the file (kernels/bitshift_matrix.h).
class BitshiftLayer final : public IntegerLayer {
 public:
  BitshiftLayer(BitshiftMatrix matrix, uint32_t rotation, std::vector<float> bias,
                InputPrecision precision);

  int64_t outputs() const override { return M_.rows; }
  int64_t inputs() const override { return M_.inputs; }
  int64_t bytes() const override { return M_.bytes() + bias_bytes(); }

 private:
  void multiply(ThreadPool& pool, MatrixView<const float> X, float beta,
                MatrixView<float> Y) const override;
  void read_row(int64_t output, std::span<float> out) const override;

  BitshiftMatrix M_;
};

// Weights in 16 bits, where they lie or held.
class HalfLayer final : public LinearLayer {
 public:
  static constexpr int64_t kFewTokens = 3;  // of more, tiles made wide are faster than vectors

  // `weights`, rows x cols, must outlive the layer.
  HalfLayer(HalfKind kind, std::span<const uint16_t> weights, int64_t rows, int64_t cols,
            std::vector<float> bias);
  // W's values, rounded to nearest. Up to `in_vectors` tokens are independent; many at once are
  // faster where they are not, unless the matrix is small.
  HalfLayer(HalfKind kind, MatrixView<const float> W, std::vector<float> bias = {},
            int64_t in_vectors = kFewTokens);

  int64_t outputs() const override { return rows_; }
  int64_t inputs() const override { return cols_; }
  int64_t bytes() const override;
  int64_t independent_tokens() const override { return in_vectors_; }
  // Of a few tokens in vectors; of more by tiles in float32, as DenseLayer.
  void apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
             MatrixView<float> Y) const override;
  Matrix<float> rows(ThreadPool& pool, std::span<const int32_t> ids) const override;

 private:
  std::span<const uint16_t> row(int64_t first, int64_t count) const {
    return weights_.subspan(static_cast<size_t>(first * cols_), static_cast<size_t>(count * cols_));
  }

  HalfKind kind_;
  int64_t rows_, cols_;
  int64_t in_vectors_;  // so many tokens
  std::vector<uint16_t> held_;
  std::span<const uint16_t> weights_;
  std::vector<float> bias_;
};

// Embedding and head of a tied model whose blocks stand in another basis: one matrix E, the basis
// Q (hidden x hidden) and the final norm's gain. As an embedding its rows are E Q; as a head its
// outputs are E (gain o (Q x)).
class TurnedEmbedding final : public LinearLayer {
 public:
  // `exact`: Q stays in float32, else it is held in halves.
  TurnedEmbedding(std::shared_ptr<const LinearLayer> E, MatrixView<const float> Q,
                  std::vector<float> gain, bool exact);

  int64_t outputs() const override { return E_->outputs(); }
  int64_t inputs() const override { return E_->inputs(); }
  int64_t bytes() const override;
  int64_t independent_tokens() const override;
  void apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
             MatrixView<float> Y) const override;
  Matrix<float> rows(ThreadPool& pool, std::span<const int32_t> ids) const override;

 private:
  std::shared_ptr<const LinearLayer> E_;
  std::unique_ptr<const LinearLayer> Q_, Q_transposed_;
  std::vector<float> gain_;
};

}  // namespace watersic
