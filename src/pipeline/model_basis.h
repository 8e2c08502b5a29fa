// The basis in which a run quantizes a model: what its passes see, and what the file holds.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/threads.h"
#include "model/rotated_source.h"
#include "watersic/quantize.h"

namespace watersic {

// The basis that the options ask for; left open, for method watersic with calibration principal, or
// where the axes would take more than a twelfth of a bit a weight heads alone. Throws Error where
// it needs calibration that there is not.
Basis resolved_basis(const ModelConfig& config, const QuantizeOptions& options);

// Q S Q^T: what a moment is where vectors are turned by Q.
Matrix<double> turned(ThreadPool& pool, const Matrix<float>& Q, const Matrix<double>& S);

// A guess at what the axes of a stream take of the file, which holds them only where one matrix is
// embedding and head: bits.
double axes_bits(const ModelConfig& config, Basis basis);

// The columns of a stream's orthogonal matrix, by falling variance, coded as rows: the coarser the
// less varies along an axis, since what an axis is off by leaks its variance into all others.
std::vector<std::byte> encode_axes(ThreadPool& pool, MatrixView<const float> stream,
                                   std::span<const double> variances);
// What they decode to, made orthonormal again: the matrix to use.
Matrix<float> decode_axes(ThreadPool& pool, std::span<const std::byte> coded);

// What a run must know again when it is resumed. The stream's axes are coded where the file holds
// them: then `stream` is what they decode to.
struct SavedBasis {
  Rotation rotation;
  std::vector<std::byte> axes;
};

class ModelBasis {
 public:
  // The model's own, until it is turned. All must outlive the object.
  ModelBasis(ThreadPool& pool, const ModelConfig& config, const WeightSource& original);

  // Where axes are given, the file holds them, and the ends of the model as they were.
  void turn(SavedBasis basis);

  // What a forward pass sees.
  const ModelConfig& config() const { return config_; }
  const WeightSource& weights() const { return *weights_; }
  // What the file holds: tensors of the original's configuration.
  const WeightSource& stored() const { return *stored_; }
  std::span<const std::byte> axes() const { return axes_; }

  // Points of the stream as the passes see them, from rows of the stored embedding.
  Matrix<float> to_stream(Matrix<float> X) const;
  // A metric of the stored embedding's rows from one of the stream that enters the first block, and
  // from one of what the head's matrix sees.
  Matrix<double> from_stream(Matrix<double> S) const;
  Matrix<double> from_head(Matrix<double> S) const;

 private:
  ThreadPool& pool_;
  const ModelConfig original_config_;
  const WeightSource& original_;
  ModelConfig config_;
  const WeightSource *weights_, *stored_;
  std::unique_ptr<RotatedSource> rotated_blocks_, rotated_;
  Matrix<float> stream_;  // between the stored ends and the passes; empty: nothing
  std::vector<std::byte> axes_;
};

}  // namespace watersic
