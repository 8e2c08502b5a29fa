#include "model/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "linalg/blas.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr int64_t kTileRows = 256;  // of tokens, within a window
constexpr int64_t kTileCols = 512;  // of outputs
constexpr int64_t kRowTile = 64;    // of tokens, for what goes row by row

// A part of a layer's output: rows [i, i + rows) of a batch, all in one window, and outputs
// [j, j + cols).
struct Tile {
  int64_t i, rows, j, cols;
};

// Calls body(tile) for all tiles, over all windows at once, so that many threads find work.
void for_each_tile(ThreadPool& pool, int64_t tokens, int64_t length, int64_t outputs,
                   const std::function<void(const Tile&)>& body) {
  assert(length > 0 && tokens % length == 0);
  const int64_t down = tile_count(length, kTileRows), across = tile_count(outputs, kTileCols);
  pool.parallel_for(tokens / length * down * across, [&](int64_t index) {
    const int64_t window = index / (down * across), within = index / across % down * kTileRows;
    const int64_t j = index % across * kTileCols;
    body({.i = window * length + within,
          .rows = std::min(kTileRows, length - within),
          .j = j,
          .cols = std::min(kTileCols, outputs - j)});
  });
}

// y = (X W^T + bias) of the tile + beta y; one BLAS call, as gemm is serial inside a tile.
void linear_tile(ThreadPool& pool, const LinearWeights& layer, MatrixView<const float> X,
                 const Tile& tile, float beta, MatrixView<float> y) {
  const MatrixView<const float> W = layer.weight;
  assert(X.cols() == W.cols());
  gemm(pool, Op::kNone, Op::kTranspose, 1.0F, X.block(tile.i, 0, tile.rows, X.cols()),
       W.block(tile.j, 0, tile.cols, W.cols()), beta, y);
  if (layer.bias.empty()) return;
  for (int64_t r = 0; r < tile.rows; ++r)
    for (int64_t c = 0; c < tile.cols; ++c) y(r, c) += layer.bias[static_cast<size_t>(tile.j + c)];
}

// One head of one window, by tiles of queries. Adds to received[j], unless it is empty, the
// probabilities of all queries for key j.
void attend_head(ThreadPool& pool, MatrixView<const float> Q, MatrixView<const float> K,
                 MatrixView<const float> V, MatrixView<float> out, std::span<double> received) {
  const int64_t length = Q.rows(), d = Q.cols();
  Matrix<float> buffer(std::min(kQueryTile, length), length);
  for (int64_t begin = 0; begin < length; begin += kQueryTile) {
    const int64_t rows = std::min(kQueryTile, length - begin), seen = begin + rows;
    const MatrixView<float> P = buffer.view().block(0, 0, rows, seen);
    attention_weights(pool, Q.block(begin, 0, rows, d), K.block(0, 0, seen, d), begin, P);
    for (int64_t i = 0; i < rows && !received.empty(); ++i)
      for (int64_t j = 0; j <= begin + i; ++j)
        received[static_cast<size_t>(j)] += static_cast<double>(P(i, j));
    gemm(pool, Op::kNone, Op::kNone, 1.0F, P, V.block(0, 0, seen, d), 0.0F,
         out.block(begin, 0, rows, d));
  }
}

Matrix<float> normalized(ThreadPool& pool, const ModelConfig& config, const BlockWeights& weights,
                         std::span<const float> norm, const char* what, MatrixView<const float> X) {
  Matrix<float> Y(X.rows(), X.cols());
  rms_norm(pool, X, norm, config.norm_epsilon, Y);
  check_finite(pool, weights.block, what, Y);
  return Y;
}

}  // namespace

int64_t BlockWeights::bytes() const {
  size_t values = attention_norm.size() + mlp_norm.size() + query_norm.size() + key_norm.size();
  for (const LinearWeights& layer : linear)
    values += static_cast<size_t>(layer.weight.size()) + layer.bias.size();
  return static_cast<int64_t>(values * sizeof(float));
}

BlockWeights load_block(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                        int64_t block) {
  BlockWeights weights;
  weights.block = block;
  const auto sites = linear_sites(config, block);
  pool.parallel_for(kLinears, [&](int64_t i) {
    const LinearSite& site = sites[static_cast<size_t>(i)];
    LinearWeights& layer = weights.linear[static_cast<size_t>(i)];
    layer.weight = source.matrix(site.name);
    if (site.bias) layer.bias = source.vector(site.bias_name());
  });
  weights.attention_norm = source.vector(block_tensor(block, "input_layernorm.weight"));
  weights.mlp_norm = source.vector(block_tensor(block, "post_attention_layernorm.weight"));
  if (config.qk_norm) {
    weights.query_norm = source.vector(block_tensor(block, "self_attn.q_norm.weight"));
    weights.key_norm = source.vector(block_tensor(block, "self_attn.k_norm.weight"));
  }
  return weights;
}

Matrix<float> attention_input(ThreadPool& pool, const ModelConfig& config,
                              const BlockWeights& weights, MatrixView<const float> X) {
  return normalized(pool, config, weights, weights.attention_norm, "input of q, k, v", X);
}

void apply_linear(ThreadPool& pool, const LinearWeights& layer, int64_t length,
                  MatrixView<const float> X, float beta, MatrixView<float> Y) {
  assert(Y.rows() == X.rows() && Y.cols() == layer.weight.rows());
  for_each_tile(pool, X.rows(), length, Y.cols(), [&](const Tile& tile) {
    linear_tile(pool, layer, X, tile, beta, Y.block(tile.i, tile.j, tile.rows, tile.cols));
  });
}

void place_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                 std::span<const float> norm, std::span<const int64_t> positions,
                 MatrixView<float> Y) {
  const auto head_dim = static_cast<size_t>(config.head_dim);
  pool.parallel_for(tile_count(Y.rows(), kRowTile), [&](int64_t tile) {
    const int64_t end = std::min(Y.rows(), (tile + 1) * kRowTile);
    for (int64_t i = tile * kRowTile; i < end; ++i) {
      for (size_t begin = 0; begin < static_cast<size_t>(Y.cols()); begin += head_dim) {
        const auto head = Y.row(i).subspan(begin, head_dim);
        if (!norm.empty()) rms_norm(head, norm, config.norm_epsilon, head);
        rope.rotate(positions[static_cast<size_t>(i)], head);
      }
    }
  });
}

Heads project_heads(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                    const BlockWeights& weights, int64_t length, std::span<const int64_t> positions,
                    MatrixView<const float> A) {
  Heads heads{.Q = Matrix<float>(A.rows(), config.query_size()),
              .K = Matrix<float>(A.rows(), config.kv_size()),
              .V = Matrix<float>(A.rows(), config.kv_size())};
  apply_linear(pool, weights.linear[kQuery], length, A, 0, heads.Q);
  apply_linear(pool, weights.linear[kKey], length, A, 0, heads.K);
  apply_linear(pool, weights.linear[kValue], length, A, 0, heads.V);
  place_heads(pool, config, rope, weights.query_norm, positions, heads.Q);
  place_heads(pool, config, rope, weights.key_norm, positions, heads.K);
  return heads;
}

std::vector<int64_t> window_positions(int64_t tokens, int64_t length) {
  std::vector<int64_t> positions;
  positions.reserve(static_cast<size_t>(tokens));
  for (int64_t i = 0; i < tokens; ++i) positions.push_back(i % length);
  return positions;
}

void attention_weights(ThreadPool& pool, MatrixView<const float> Q, MatrixView<const float> K,
                       int64_t begin, MatrixView<float> P) {
  const float scale = 1.0F / std::sqrt(static_cast<float>(Q.cols()));
  gemm(pool, Op::kNone, Op::kTranspose, scale, Q, K, 0.0F, P);
  for (int64_t i = 0; i < P.rows(); ++i) {
    const auto past = static_cast<size_t>(begin + i + 1);
    softmax(P.row(i).first(past));
    std::fill(P.row(i).begin() + static_cast<int64_t>(past), P.row(i).end(), 0.0F);
  }
}

Matrix<float> attend(ThreadPool& pool, const ModelConfig& config, int64_t length,
                     const Heads& heads, std::vector<float>* received) {
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
                received != nullptr ? sums.row(tile) : std::span<double>());
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

Matrix<float> attention(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                        const BlockWeights& weights, int64_t length, MatrixView<const float> A,
                        std::vector<float>* received) {
  Matrix<float> H = attend(
      pool, config, length,
      project_heads(pool, config, rope, weights, length, window_positions(A.rows(), length), A),
      received);
  check_finite(pool, weights.block, "input of o", H);
  return H;
}

Matrix<float> mlp_input(ThreadPool& pool, const ModelConfig& config, const BlockWeights& weights,
                        MatrixView<const float> X) {
  return normalized(pool, config, weights, weights.mlp_norm, "input of gate, up", X);
}

Matrix<float> mlp_hidden(ThreadPool& pool, const BlockWeights& weights, int64_t length,
                         MatrixView<const float> M) {
  Matrix<float> G(M.rows(), weights.linear[kGate].weight.rows());
  for_each_tile(pool, M.rows(), length, G.cols(), [&](const Tile& tile) {
    const MatrixView<float> gate = G.view().block(tile.i, tile.j, tile.rows, tile.cols);
    Matrix<float> up(tile.rows, tile.cols);  // never whole: it is as large as G
    linear_tile(pool, weights.linear[kGate], M, tile, 0, gate);
    linear_tile(pool, weights.linear[kUp], M, tile, 0, up);
    for (int64_t r = 0; r < tile.rows; ++r) gate_with(gate.row(r), up.row(r));
  });
  check_finite(pool, weights.block, "input of down", G);
  return G;
}

void add_linear(ThreadPool& pool, const BlockWeights& weights, Linear linear, int64_t length,
                MatrixView<const float> input, MatrixView<float> X) {
  apply_linear(pool, weights.linear[linear], length, input, 1, X);
}

void forward_block(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                   const BlockWeights& weights, int64_t length, MatrixView<float> X,
                   const CaptureFn& capture) {
  const auto seen = [&](Capture point, const Matrix<float>& input) {
    if (capture) capture(point, input);
  };
  {
    const Matrix<float> A = attention_input(pool, config, weights, X);
    seen(Capture::kQkv, A);
    const Matrix<float> H = attention(pool, config, rope, weights, length, A);
    seen(Capture::kO, H);
    add_linear(pool, weights, kOutput, length, H, X);
  }
  const Matrix<float> M = mlp_input(pool, config, weights, X);
  seen(Capture::kGateUp, M);
  const Matrix<float> G = mlp_hidden(pool, weights, length, M);
  seen(Capture::kDown, G);
  add_linear(pool, weights, kDown, length, G, X);
  check_finite(pool, weights.block, "output", X);
}

void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y) {
  assert(x.size() == weight.size() && x.size() == y.size());
  // Four sums, so that the additions need not wait for each other.
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= x.size(); i += 4)
    for (size_t k = 0; k < 4; ++k)
      sums[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
  for (; i < x.size(); ++i) sums[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double mean = (sums[0] + sums[1] + sums[2] + sums[3]) / static_cast<double>(x.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
  for (size_t j = 0; j < x.size(); ++j) y[j] = x[j] * scale * weight[j];
}

void rms_norm(ThreadPool& pool, MatrixView<const float> X, std::span<const float> weight,
              double epsilon, MatrixView<float> Y) {
  pool.parallel_for(tile_count(X.rows(), kRowTile), [&](int64_t tile) {
    const int64_t end = std::min(X.rows(), (tile + 1) * kRowTile);
    for (int64_t i = tile * kRowTile; i < end; ++i) rms_norm(X.row(i), weight, epsilon, Y.row(i));
  });
}

void softmax(std::span<float> x) {
  if (x.empty()) return;
  const float top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float& value : x) {
    value = std::exp(value - top);
    sum += static_cast<double>(value);
  }
  const auto scale = static_cast<float>(1.0 / sum);
  for (float& value : x) value *= scale;
}

void gate_with(std::span<float> gate, std::span<const float> up) {
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

void check_finite(ThreadPool& pool, int64_t block, const char* what, MatrixView<const float> X) {
  pool.parallel_for(tile_count(X.rows(), kRowTile), [&](int64_t tile) {
    const int64_t end = std::min(X.rows(), (tile + 1) * kRowTile);
    for (int64_t i = tile * kRowTile; i < end; ++i) {
      uint32_t bad = 0;  // an exponent of all ones; without branches, so that it vectorizes
      for (const float x : X.row(i))
        bad |= static_cast<uint32_t>((std::bit_cast<uint32_t>(x) & 0x7F800000) == 0x7F800000);
      if (bad == 0) continue;
      const auto row = X.row(i);
      const auto j =
          std::find_if(row.begin(), row.end(), [](float x) { return !std::isfinite(x); });
      throw Error(
          fmt::format("block {}: {}: expected finite activations, found {} at token {}, feature {}",
                      block, what, *j, i, j - row.begin()));
    }
  });
}

}  // namespace watersic
