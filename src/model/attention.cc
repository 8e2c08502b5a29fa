#include "model/attention.h"

#include <algorithm>
#include <cmath>

#include "linalg/blas.h"

namespace watersic {
namespace {

// One head of one window, by tiles of queries. Adds to received[j], unless it is empty, the
// probabilities of all queries for key j.
void attend_head(ThreadPool& pool, MatrixView<const float> Q, MatrixView<const float> K,
                 MatrixView<const float> V, MatrixView<float> out, std::span<double> received,
                 const Operators& operators) {
  const int64_t length = Q.rows(), d = Q.cols();
  Matrix<float> buffer(std::min(kQueryTile, length), length);
  for (int64_t begin = 0; begin < length; begin += kQueryTile) {
    const int64_t rows = std::min(kQueryTile, length - begin), seen = begin + rows;
    const MatrixView<float> P = buffer.view().block(0, 0, rows, seen);
    attention_weights(pool, Q.block(begin, 0, rows, d), K.block(0, 0, seen, d), begin, P,
                      operators);
    for (int64_t i = 0; i < rows && !received.empty(); ++i)
      for (int64_t j = 0; j <= begin + i; ++j)
        received[static_cast<size_t>(j)] += static_cast<double>(P(i, j));
    gemm(pool, Op::kNone, Op::kNone, 1.0F, P, V.block(0, 0, seen, d), 0.0F,
         out.block(begin, 0, rows, d));
  }
}

}  // namespace

WindowAttention::WindowAttention(const ModelConfig& config, int64_t tokens, int64_t length,
                                 const Operators& operators)
    : config_(config),
      length_(length),
      operators_(operators),
      positions_(window_positions(tokens, length)) {}

Matrix<float> WindowAttention::mix(ThreadPool& pool, int64_t /*block*/, const Heads& heads) {
  return attend(pool, config_, length_, heads, nullptr, operators_);
}

std::vector<int64_t> window_positions(int64_t tokens, int64_t length) {
  std::vector<int64_t> positions;
  positions.reserve(static_cast<size_t>(tokens));
  for (int64_t i = 0; i < tokens; ++i) positions.push_back(i % length);
  return positions;
}

void place_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                 std::span<const float> norm, std::span<const int64_t> positions,
                 MatrixView<float> Y, const Operators& operators) {
  const auto head_dim = static_cast<size_t>(config.head_dim);
  by_rows(pool, Y.rows(), [&](int64_t i) {
    for (size_t begin = 0; begin < static_cast<size_t>(Y.cols()); begin += head_dim) {
      const auto head = Y.row(i).subspan(begin, head_dim);
      if (!norm.empty()) operators.rms_norm(head, norm, config.norm_epsilon, head);
      operators.rotate(rope, positions[static_cast<size_t>(i)], head);
    }
  });
}

void attention_weights(ThreadPool& pool, MatrixView<const float> Q, MatrixView<const float> K,
                       int64_t begin, MatrixView<float> P, const Operators& operators) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(Q.cols()));
  gemm(pool, Op::kNone, Op::kTranspose, scale, Q, K, 0.0F, P);
  for (int64_t i = 0; i < P.rows(); ++i) {
    const auto past = static_cast<size_t>(begin + i + 1);
    operators.softmax(P.row(i).first(past));
    std::fill(P.row(i).begin() + static_cast<int64_t>(past), P.row(i).end(), 0.0F);
  }
}

Matrix<float> attend(ThreadPool& pool, const ModelConfig& config, int64_t length,
                     const Heads& heads, std::vector<float>* received, const Operators& operators) {
  const int64_t tokens = heads.Q.rows(), d = config.head_dim;
  const int64_t group = config.heads / config.kv_heads;
  Matrix<float> H(tokens, config.query_size());
  Matrix<double> sums;  // a row for each window and head
  if (received != nullptr) sums = Matrix<double>(tokens / length * config.heads, length);
  pool.parallel_for(tokens / length * config.heads, [&](int64_t tile) {
    const int64_t first = tile / config.heads * length, head = tile % config.heads;
    const int64_t kv = head / group * d;
    attend_head(pool, heads.Q.view().block(first, head * d, length, d),
                heads.K.view().block(first, kv, length, d),
                heads.V.view().block(first, kv, length, d),
                H.view().block(first, head * d, length, d),
                received != nullptr ? sums.row(tile) : std::span<double>(), operators);
  });
  if (received != nullptr) {
    received->assign(static_cast<size_t>(tokens), 0.0F);
    for (int64_t i = 0; i < tokens; ++i) {
      const int64_t j = i % length;
      double sum = 0;
      for (int64_t head = 0; head < config.heads; ++head)
        sum += sums(i / length * config.heads + head, j);
      (*received)[static_cast<size_t>(i)] =
          static_cast<float>(sum / static_cast<double>(config.heads * (length - j)));
    }
  }
  return H;
}

}  // namespace watersic
