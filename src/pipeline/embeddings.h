// The two matrices with a row for each token, the embedding and the output head, as layer problems
// (docs/algorithm.md, "Embeddings and head").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "calibration/stage_moments.h"
#include "model/config.h"
#include "pipeline/output_gradients.h"
#include "quant/problem.h"
#include "watersic/quantize.h"

namespace watersic {

struct EmbeddingPlan {
  std::string name;
  int64_t rows = 0, cols = 0;
  bool tied = false;         // the embedding is the head, too
  QuantizerOptions options;  // method watersic, whatever the layers' is

  int64_t weights() const { return rows * cols; }
  bool is_head() const;  // and nothing else
};

// Those that are quantized, the embedding first. Throws Error where the options ask for what is
// not there, or for more or fewer bits than there can be.
std::vector<EmbeddingPlan> plan_embeddings(const ModelConfig& config,
                                           const QuantizeOptions& options);

// The moments of one such problem, owned.
struct EmbeddingProblem {
  Moments moments;
  Matrix<double> row_weights;  // 1 x vocabulary; or empty

  LayerProblem problem(MatrixView<const float> W) const;
};

// Of the embedding, tied or not: `stream`, E[g g^T] of the stream's gradients, and `head`, E[x x^T]
// of the head's inputs, are those of `gradients` in the coordinates of the matrix's rows. The
// metric of a few tokens is leant towards a multiple of the identity.
EmbeddingProblem embedding_problem(const ModelConfig& config, bool tied,
                                   std::span<const std::vector<int32_t>> windows,
                                   const OutputGradients& gradients, Matrix<double> stream,
                                   MatrixView<const double> head);
// Of a head of its own, from the statistics of its inputs.
EmbeddingProblem head_problem(StageStatistics statistics, const OutputGradients& gradients);
// Without calibration: S = I, all tokens alike.
EmbeddingProblem blind_problem(int64_t cols);

}  // namespace watersic
