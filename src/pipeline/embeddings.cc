#include "pipeline/embeddings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "coding/dec_tensor.h"
#include "quant/means.h"
#include "quant/method.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::optional<double> wanted_bits(const std::optional<double>& bits, const char* name) {
  if (!bits || *bits == 16) return std::nullopt;
  if (!(*bits >= 0.5 && *bits <= kMostEmbeddingBits)) {
    throw Error(fmt::format(
        "{}: expected 0.5 to 10 bits a weight, or 16 for no quantization, found {}", name, *bits));
  }
  return bits;
}

// The rows, some at a time, with the index of the first.
void for_some_rows(const WeightSource& source, const std::string& name,
                   const std::function<void(int64_t, const Matrix<float>&)>& body) {
  constexpr int64_t kRows = 4096;
  const int64_t count = source.shape(name).rows;
  for (int64_t from = 0; from < count; from += kRows) {
    std::vector<int32_t> rows(static_cast<size_t>(std::min(kRows, count - from)));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(from));
    body(from, source.rows(name, rows));
  }
}

}  // namespace

bool EmbeddingPlan::is_head() const { return name == kHead; }

double open_embedding_bits(const QuantizeOptions& options, double bits) {
  const double more = bits + kEmbeddingBitsMore;
  return knows_model(options.method) && more <= kMostEmbeddingBits ? more : 16;
}

void resolve_embedding_bits(const ModelConfig& config, double bits_if_open,
                            QuantizeOptions& options) {
  auto &embedding = options.embedding_bits, &head = options.head_bits;
  if (config.tied_embeddings) {
    if (!embedding) embedding = head;
    if (!head) head = embedding;
  }
  for (auto* bits : {&embedding, &head})
    if (!*bits) *bits = bits_if_open;
}

SharedBits bits_in_file(const ModelConfig& config, const QuantizeOptions& options, double left,
                        int64_t layers) {
  const auto each = static_cast<double>(config.vocabulary * config.hidden);
  double open = 0;
  if (config.tied_embeddings) {
    if (!options.embedding_bits && !options.head_bits) open = each;
  } else {
    if (!options.embedding_bits) open += each;
    if (!options.head_bits) open += each;
  }
  const auto layers_at = [&](double bits_if_open) {
    return std::min(16.0, (left - bits_if_open * open) / static_cast<double>(layers));
  };
  constexpr double kMost = kMostEmbeddingBits - kEmbeddingBitsMore;
  if (!knows_model(options.method) || layers_at(16) >= kMost) return {layers_at(16), 16};
  const double shared = (left - kEmbeddingBitsMore * open) / (static_cast<double>(layers) + open);
  if (shared <= kMost) return {shared, shared + kEmbeddingBitsMore};
  return {layers_at(kMostEmbeddingBits), kMostEmbeddingBits};
}

std::vector<EmbeddingPlan> plan_embeddings(const ModelConfig& config,
                                           const QuantizeOptions& options) {
  auto embedding = wanted_bits(options.embedding_bits, "embedding-bits");
  const auto head = wanted_bits(options.head_bits, "head-bits");
  if (config.tied_embeddings) {
    if (options.embedding_bits && options.head_bits &&
        *options.embedding_bits != *options.head_bits) {
      throw Error(fmt::format(
          "head-bits: the model has one matrix for embedding and head: expected {} as for "
          "embedding-bits, found {}",
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

double mean_square_of(const WeightSource& source, const std::string& name) {
  double sum = 0;
  const int64_t rows = source.shape(name).rows;
  for_some_rows(source, name, [&](int64_t, const Matrix<float>& W) {
    sum += mean_square(W) * static_cast<double>(W.rows());
  });
  return sum / static_cast<double>(rows);
}

Matrix<float> tall_matrix(const WeightSource& source, const std::string& name) {
  const WeightSource::Shape shape = source.shape(name);
  Matrix<float> W(shape.rows, shape.cols);
  for_some_rows(source, name, [&](int64_t from, const Matrix<float>& rows) {
    std::ranges::copy(rows.values(), W.row(from).begin());
  });
  return W;
}

CodedEmbedding::CodedEmbedding(ThreadPool& pool, std::span<const std::byte> coded)
    : tensor_(decode_tensor(coded, pool, kEmbedding)), values_(tensor_) {}

Matrix<float> CodedEmbedding::of(std::span<const std::vector<int32_t>> windows) const {
  int64_t tokens = 0, next = 0;
  for (const auto& window : windows) tokens += static_cast<int64_t>(window.size());
  Matrix<float> X(tokens, tensor_.cols);
  for (const auto& window : windows)
    for (const int32_t id : window) values_.row(id, X.row(next++));
  return X;
}

LayerProblem EmbeddingProblem::problem(MatrixView<const float> W) const {
  LayerProblem out{.W = W, .S = moments.S};
  if (!moments.S_quantized.empty()) out.S_quantized = moments.S_quantized;
  out.drift = moments.drift;
  out.drift_contrast = moments.drift_contrast;
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
  EmbeddingProblem out;
  out.moments.S = std::move(S);
  out.row_weights = std::move(weights);
  return out;
}

EmbeddingProblem head_problem(ThreadPool& pool, StageStatistics statistics,
                              const OutputGradients& gradients) {
  statistics.shrink(pool);
  return {.moments = std::move(statistics.plain), .row_weights = gradients.head().metric};
}

EmbeddingProblem blind_problem(int64_t cols) {
  EmbeddingProblem out;
  out.moments.S = Matrix<double>(cols, cols);
  for (int64_t i = 0; i < cols; ++i) out.moments.S(i, i) = 1;
  return out;
}

}  // namespace watersic
