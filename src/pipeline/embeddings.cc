#include "pipeline/embeddings.h"

#include <fmt/format.h>

#include <cmath>

#include "quant/means.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::optional<double> wanted_bits(const std::optional<double>& bits, const char* name) {
  if (!bits || *bits == 16) return std::nullopt;
  if (!(*bits >= 0.5 && *bits <= 10)) {
    throw Error(fmt::format(
        "{}: expected 0.5 to 10 bits a weight, or 16 for no quantization, found {}", name, *bits));
  }
  return bits;
}

}  // namespace

bool EmbeddingPlan::is_head() const { return name == kHead; }

std::vector<EmbeddingPlan> plan_embeddings(const ModelConfig& config,
                                           const QuantizeOptions& options) {
  auto embedding = wanted_bits(options.embedding_bits, "--embedding-bits");
  const auto head = wanted_bits(options.head_bits, "--head-bits");
  if (config.tied_embeddings) {
    if (options.embedding_bits && options.head_bits &&
        *options.embedding_bits != *options.head_bits) {
      throw Error(fmt::format(
          "--head-bits: the model has one matrix for embedding and head: expected {} as for "
          "--embedding-bits, found {}",
          *options.embedding_bits, *options.head_bits));
    }
    if (!embedding) embedding = head;
  }
  std::vector<EmbeddingPlan> out;
  const auto add = [&](const char* name, double bits) {
    EmbeddingPlan plan{.name = name,
                       .rows = config.vocabulary,
                       .cols = config.hidden,
                       .tied = config.tied_embeddings,
                       .options = {}};
    plan.options.bits = bits;
    plan.options.seed = options.seed;
    // A column that gradients hardly see may still be what later norms divide by.
    plan.options.dead_threshold = 0;
    out.push_back(std::move(plan));
  };
  if (embedding) add(kEmbedding, *embedding);
  if (head && !config.tied_embeddings) add(kHead, *head);
  return out;
}

LayerProblem EmbeddingProblem::problem(MatrixView<const float> W) const {
  LayerProblem out{.W = W, .S = moments.S};
  if (!moments.S_quantized.empty()) out.S_quantized = moments.S_quantized;
  if (!moments.cross.empty()) out.cross = moments.cross;
  if (!row_weights.empty()) out.output_metric = row_weights;
  return out;
}

// To second order an error e of token v's row costs, in nats a token,
//   1/2 e^T (f_v Gamma + h_v S) e
// with f_v the token's frequency, Gamma = E[g g^T] of the stream's gradients, and, where the row is
// the head's as well, h_v = E[p_v (1 - p_v)] and S = E[x x^T] of the head's inputs. One metric for
// all rows and one weight for each are what the loop can use: of the sum over all tokens the
// metric, and of each token's own the trace.
EmbeddingProblem embedding_problem(const ModelConfig& config, bool tied,
                                   std::span<const std::vector<int32_t>> windows,
                                   const OutputGradients& gradients, Matrix<double> stream,
                                   MatrixView<const double> head) {
  Matrix<double> S = std::move(stream);
  const Matrix<double>& metric = gradients.head().metric;
  const int64_t vocabulary = config.vocabulary, n = config.hidden;
  // Once more than they were seen: those that never were may be yet.
  std::vector<double> counts(static_cast<size_t>(vocabulary), 1.0);
  auto tokens = static_cast<double>(vocabulary);
  for (const auto& window : windows) {
    for (const int32_t id : window) ++counts[static_cast<size_t>(id)];
    tokens += static_cast<double>(window.size());
  }
  const double gamma = mean_diagonal(S), inputs = mean_diagonal(head);
  Matrix<double> weights(1, vocabulary);
  double heads = 0;
  for (int64_t v = 0; v < vocabulary; ++v) {
    weights(0, v) = counts[static_cast<size_t>(v)] / tokens * gamma;
    if (tied) weights(0, v) += metric(0, v) * inputs;
    heads += metric(0, v);
  }
  if (tied)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) S(i, j) += heads * head(i, j);
  const double lean =
      mean_diagonal(S) * static_cast<double>(n) / static_cast<double>(gradients.tokens());
  for (int64_t i = 0; i < n; ++i) S(i, i) += lean;
  return {.moments = {.S = std::move(S), .S_quantized = {}, .cross = {}},
          .row_weights = std::move(weights)};
}

EmbeddingProblem head_problem(StageStatistics statistics, const OutputGradients& gradients) {
  return {.moments = std::move(statistics.plain), .row_weights = gradients.head().metric};
}

EmbeddingProblem blind_problem(int64_t cols) {
  EmbeddingProblem out;
  out.moments.S = Matrix<double>(cols, cols);
  for (int64_t i = 0; i < cols; ++i) out.moments.S(i, i) = 1;
  return out;
}

}  // namespace watersic
