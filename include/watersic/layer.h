// One linear layer: weights and the second moment of its inputs in, a coded matrix out. The door
// for researchers and for models of other kinds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "watersic/matrix.h"
#include "watersic/options.h"

namespace watersic {

// Bits per weight of the full matrix, dead columns included.
struct BitCount {
  double file = 0;            // coded + side
  double coded = 0;           // all that recovers the integers: streams, tables, states
  double side = 0;            // scales, dead indices, headers, padding
  double pooled_entropy = 0;  // empirical entropy of the integers as one source
  double paper_rate = 0;  // pooled_entropy + 16 bits for each row and column, as the papers report
};

using LayerOptions = QuantizerOptions;

// The same layer in the basis of the eigenvectors of S, falling: W Q and the diagonal Q^T S Q. An
// oracle: whoever decodes must know Q, and its bits are not counted.
struct EigenBasis {
  Matrix<float> W;
  Matrix<double> S, Q;
};
EigenBasis to_eigenbasis(MatrixView<const float> W, MatrixView<const double> S, int threads = 0);
// V Q^T: a result back in the native basis.
Matrix<float> from_eigenbasis(MatrixView<const float> V, MatrixView<const double> Q,
                              int threads = 0);

struct LayerResult {
  std::vector<std::byte> coded;  // the matrix as a .wsic file holds it (docs/format.md)
  Matrix<float> dequantized;     // V, a x n: what the coded bytes decode to
  std::string model_id;          // names the coded matrix by its content
  int64_t rows = 0, cols = 0;
  Method method = Method::kWatersic;
  double target_bits = 0;
  BitCount bits;
  double distortion = 0;           // tr((W - V) S (W - V)^T) / (a n), with S as given
  double weighted_distortion = 0;  // tr(G (W - V) S (W - V)^T) / (a n), G with a mean of 1 on its
                                   // diagonal; 0 without a metric of the outputs
  double limit_bits = 0;  // R(D): no code of Gaussian weights can spend less at this distortion
  double gap = 0;         // bits.coded - limit_bits
  int64_t dead = 0;       // columns
  double damping = 0;     // relative to the mean of the diagonal of S
  double step = 0;        // c; 0 for the methods of a fixed grid
  double seconds = 0;
};

// W: a x n weights. S: n x n, symmetric, E[x x^T] of the layer's inputs (the identity where nothing
// is known). output_metric: empty, or G, a x a, symmetric and positive semidefinite: what errors e
// of the outputs count, e^T G e (method watersic, without LMMSE); limit and gap are then of the
// weighted distortion. Throws Error where shapes disagree, a value is not finite, S or G is not
// symmetric, or the rate can't be met.
LayerResult quantize_layer(MatrixView<const float> W, MatrixView<const double> S,
                           const LayerOptions& options,
                           MatrixView<const double> output_metric = {});

// The result as JSON, without the matrices.
std::string to_json(const LayerResult& result);

}  // namespace watersic
