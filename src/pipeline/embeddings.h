// The two matrices with a row for each token, the embedding and the output head, as layer problems
// (docs/algorithm.md, "Embeddings and head").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/threads.h"
#include "calibration/stage_moments.h"
#include "coding/common_tensor.h"
#include "model/config.h"
#include "model/weights.h"
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

// The bits of those whose rate is left open, beside layers of `bits`, until gradients tell: so many
// more, or 16 where that would be more than kMostEmbeddingBits, and with other methods than
// watersic.
constexpr double kEmbeddingBitsMore = 3, kMostEmbeddingBits = 10;
double open_embedding_bits(const QuantizeOptions& options, double bits);
void resolve_embedding_bits(const ModelConfig& config, double bits_if_open,
                            QuantizeOptions& options);

// The same in a file with a size, of which `left` bits are there for so many weights of layers and
// all that is left open. Where the layers have room for more than they may have beside quantized
// embeddings, and too little to keep those, they get it, and the embeddings kMostEmbeddingBits.
struct SharedBits {
  double layers = 0, if_open = 16;
};
SharedBits bits_in_file(const ModelConfig& config, const QuantizeOptions& options, double left,
                        int64_t layers);

// Those that are quantized, the embedding first; none that is left open. Throws Error where the
// options ask for what is not there, or for more or fewer bits than there can be.
std::vector<EmbeddingPlan> plan_embeddings(const ModelConfig& config,
                                           const QuantizeOptions& options);

// The weights, read some rows at a time: on the way from 16 bits they may be there twice.
Matrix<float> tall_matrix(const WeightSource& source, const std::string& name);
// Of its weights, likewise.
double mean_square_of(const WeightSource& source, const std::string& name);
// What a coded embedding stands for.
class CodedEmbedding {
 public:
  CodedEmbedding(ThreadPool& pool, std::span<const std::byte> coded);
  CodedEmbedding(const CodedEmbedding&) = delete;
  CodedEmbedding& operator=(const CodedEmbedding&) = delete;
  // The rows of all windows' tokens, one below the other.
  Matrix<float> of(std::span<const std::vector<int32_t>> windows) const;

 private:
  QuantizedTensor tensor_;
  RowDequantizer values_;  // of tensor_
};

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
EmbeddingProblem head_problem(ThreadPool& pool, StageStatistics statistics,
                              const OutputGradients& gradients);
// Without calibration: S = I, all tokens alike.
EmbeddingProblem blind_problem(int64_t cols);

}  // namespace watersic
