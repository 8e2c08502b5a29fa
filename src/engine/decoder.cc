#include "engine/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "base/rng.h"
#include "linalg/blas.h"
#include "watersic/error.h"

namespace watersic {

Decoder::Decoder(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                 int64_t batch, int64_t capacity, int64_t weight_bytes, const ProgressFn& progress)
    : pool_(pool),
      config_(config),
      source_(source),
      batch_(batch),
      capacity_(capacity),
      rope_(config, capacity),
      head_(config, source) {
  const int64_t rows = batch * config.kv_heads * capacity;
  for (int64_t block = 0; block < config.blocks; ++block) {
    caches_.push_back({.keys = Matrix<float>(rows, config.head_dim),
                       .values = Matrix<float>(rows, config.head_dim)});
    if (weight_bytes <= 0) continue;
    BlockWeights weights = load_block(pool, config, source, block);
    weight_bytes -= weights.bytes();
    if (weight_bytes >= 0) held_.push_back(std::move(weights));
    if (progress) {
      progress({.stage = "loading",
                .unit = "blocks",
                .done = block + 1,
                .total = config.blocks,
                .detail = ""});
    }
  }
}

// The batch is one window to the linear layers (its rows share their tiles); attention goes by
// sequence and key head, all the queries of which are one small product.
Matrix<float> Decoder::attend(const Block& weights, Cache& cache, MatrixView<const float> A) {
  const int64_t d = config_.head_dim, group = config_.heads / config_.kv_heads;
  const std::vector<int64_t> positions(static_cast<size_t>(batch_), position_);
  Heads heads = project_heads(pool_, config_, rope_, weights, batch_, positions, A);
  Matrix<float> H(batch_, config_.query_size());
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  pool_.parallel_for(batch_ * config_.kv_heads, [&](int64_t tile) {
    const int64_t b = tile / config_.kv_heads, h = tile % config_.kv_heads;
    const auto at = static_cast<size_t>(h * d), size = static_cast<size_t>(d);
    const int64_t row = tile * capacity_, seen = position_ + 1;
    std::ranges::copy(heads.K.row(b).subspan(at, size), cache.keys.row(row + position_).begin());
    std::ranges::copy(heads.V.row(b).subspan(at, size), cache.values.row(row + position_).begin());
    const MatrixView<float> Q(heads.Q.row(b).data() + h * group * d, group, d);
    const MatrixView<float> out(H.row(b).data() + h * group * d, group, d);
    Matrix<float> P(group, seen);
    gemm(pool_, Op::kNone, Op::kTranspose, scale, Q, cache.keys.view().block(row, 0, seen, d), 0.0F,
         P);
    for (int64_t i = 0; i < group; ++i) softmax(P.row(i));
    gemm(pool_, Op::kNone, Op::kNone, 1.0F, P, cache.values.view().block(row, 0, seen, d), 0.0F,
         out);
  });
  check_finite(pool_, weights.block, "input of o", H);
  return H;
}

Matrix<float> Decoder::attend_along(const Block& weights, Cache& cache, MatrixView<const float> A) {
  const int64_t tokens = A.rows(), d = config_.head_dim, group = config_.heads / config_.kv_heads;
  std::vector<int64_t> positions = window_positions(tokens, tokens);
  for (int64_t& position : positions) position += position_;
  const Heads heads = project_heads(pool_, config_, rope_, weights, tokens, positions, A);
  Matrix<float> H(tokens, config_.query_size());
  pool_.parallel_for(config_.kv_heads, [&](int64_t h) {
    const auto at = static_cast<size_t>(h * d), size = static_cast<size_t>(d);
    for (int64_t i = 0; i < tokens; ++i) {
      const int64_t row = h * capacity_ + position_ + i;
      std::ranges::copy(heads.K.row(i).subspan(at, size), cache.keys.row(row).begin());
      std::ranges::copy(heads.V.row(i).subspan(at, size), cache.values.row(row).begin());
    }
  });
  pool_.parallel_for(config_.heads, [&](int64_t head) {
    const int64_t first = head / group * capacity_;
    for (int64_t begin = 0; begin < tokens; begin += kQueryTile) {
      const int64_t rows = std::min(kQueryTile, tokens - begin);
      const int64_t before = position_ + begin, seen = before + rows;
      Matrix<float> P(rows, seen);
      attention_weights(pool_, heads.Q.view().block(begin, head * d, rows, d),
                        cache.keys.view().block(first, 0, seen, d), before, P);
      gemm(pool_, Op::kNone, Op::kNone, 1.0F, P, cache.values.view().block(first, 0, seen, d), 0.0F,
           H.view().block(begin, head * d, rows, d));
    }
  });
  check_finite(pool_, weights.block, "input of o", H);
  return H;
}

Matrix<float> Decoder::run_blocks(std::span<const int32_t> ids, AttendFn attend_rows) {
  Matrix<float> X = embed(config_, source_, ids);
  const int64_t rows = X.rows();
  for (size_t block = 0; block < caches_.size(); ++block) {
    BlockWeights loaded;
    if (block >= held_.size())
      loaded = load_block(pool_, config_, source_, static_cast<int64_t>(block));
    const Block& weights = block < held_.size() ? held_[block] : loaded;
    const Matrix<float> A = attention_input(pool_, config_, weights, X);
    add_linear(pool_, weights, kOutput, rows, (this->*attend_rows)(weights, caches_[block], A), X);
    const Matrix<float> M = mlp_input(pool_, config_, weights, X);
    add_linear(pool_, weights, kDown, rows, mlp_hidden(pool_, weights, rows, M), X);
    check_finite(pool_, weights.block, "output", X);
  }
  return X;
}

Matrix<float> Decoder::step(std::span<const int32_t> ids) {
  assert(static_cast<int64_t>(ids.size()) == batch_ && position_ < capacity_);
  const Matrix<float> X = run_blocks(ids, &Decoder::attend);
  ++position_;
  return head_.logits(pool_, X);
}

Matrix<float> Decoder::append(std::span<const int32_t> ids) {
  assert(batch_ == 1 && !ids.empty());
  assert(position_ + static_cast<int64_t>(ids.size()) <= capacity_);
  // Some at a time: what the blocks hold of each token is far more than its keys and values.
  constexpr size_t kTokens = 512;
  Matrix<float> X;
  for (size_t begin = 0; begin < ids.size(); begin += kTokens) {
    const auto part = ids.subspan(begin, std::min(kTokens, ids.size() - begin));
    X = run_blocks(part, &Decoder::attend_along);
    position_ += static_cast<int64_t>(part.size());
  }
  return head_.logits(pool_, X.view().block(X.rows() - 1, 0, 1, X.cols()));
}

int32_t sample_token(std::span<const float> logits, double temperature, double uniform) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  std::vector<double> cumulative(logits.size());
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    sum += std::exp((static_cast<double>(logits[i]) - top) / temperature);
    cumulative[i] = sum;
  }
  // The first token whose sum is above: one of probability 0 is never taken.
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), uniform * sum);
  return static_cast<int32_t>(
      std::min<int64_t>(found - cumulative.begin(), static_cast<int64_t>(logits.size()) - 1));
}

std::vector<std::vector<int32_t>> sample_sequences(ThreadPool& pool, const ModelConfig& config,
                                                   const WeightSource& source,
                                                   const SampleOptions& options,
                                                   const ProgressFn& progress) {
  if (options.length < 1 || options.length > config.max_positions) {
    throw Error(
        fmt::format("expected a sequence length from 1 to {}, the model's context, found {}",
                    config.max_positions, options.length));
  }
  if (!(options.temperature > 0))
    throw Error(fmt::format("expected a temperature above 0, found {}", options.temperature));
  // The number of rows of a product may change the last bit of each. So the batch depends on the
  // model and the length only, and the last one is filled up with sequences that nobody sees.
  constexpr int64_t kMaxBatch = 32, kCacheBytes = int64_t{2} << 30;
  const int64_t sequence_bytes =
      options.length * config.blocks * config.kv_size() * 2 * static_cast<int64_t>(sizeof(float));
  const int64_t batch = std::clamp<int64_t>(kCacheBytes / sequence_bytes, 1, kMaxBatch);

  std::vector<std::vector<int32_t>> sequences(static_cast<size_t>(options.count),
                                              {options.first_token});
  if (options.count == 0 || options.length == 1) return sequences;
  Decoder decoder(pool, config, source, batch, options.length - 1, options.weight_bytes);
  const uint64_t stream = Rng(options.seed).bits();
  for (int64_t begin = 0; begin < options.count; begin += batch) {
    const int64_t active = std::min(batch, options.count - begin);
    std::vector<Rng> rngs;
    for (int64_t i = 0; i < active; ++i)
      rngs.emplace_back(stream + static_cast<uint64_t>(begin + i));
    std::vector<int32_t> ids(static_cast<size_t>(batch), options.first_token);
    decoder.reset();
    for (int64_t t = 1; t < options.length; ++t) {
      const Matrix<float> logits = decoder.step(ids);
      pool.parallel_for(active, [&](int64_t i) {
        const auto at = static_cast<size_t>(i);
        ids[at] = sample_token(logits.row(i), options.temperature, rngs[at].uniform());
        sequences[static_cast<size_t>(begin) + at].push_back(ids[at]);
      });
      if (progress) {
        progress({.stage = "sampling",
                  .unit = "tokens",
                  .done = begin * (options.length - 1) + active * t,
                  .total = options.count * (options.length - 1),
                  .detail = ""});
      }
    }
  }
  return sequences;
}

}  // namespace watersic
