#include "model/operators_backward.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "linalg/blas.h"

namespace watersic {
namespace {

constexpr int64_t kRowTile = 64;  // of tokens, for what goes row by row

// A head's part of a window in dQ, and its keys' and values' in dK and dV, which its whole group
// adds to.
struct HeadGradient {
  MatrixView<float> dQ, dK, dV;
};

// With P = softmax(s Q K^T) and H = P V: dV = P^T dH, dP = dH V^T, and through the softmax
// dS = P (dP - sum_j P dP), row by row; dQ = s dS K, dK = s dS^T Q. Adds to dK and dV.
void attend_head_backward(ThreadPool& pool, MatrixView<const float> Q, MatrixView<const float> K,
                          MatrixView<const float> V, MatrixView<const float> dH,
                          const HeadGradient& out, const Operators& operators) {
  const int64_t length = Q.rows(), d = Q.cols();
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  Matrix<float> weights(std::min(kQueryTile, length), length), gradient = weights;
  for (int64_t begin = 0; begin < length; begin += kQueryTile) {
    const int64_t rows = std::min(kQueryTile, length - begin), seen = begin + rows;
    const auto q = Q.block(begin, 0, rows, d), k = K.block(0, 0, seen, d);
    const auto dh = dH.block(begin, 0, rows, d);
    const MatrixView<float> P = weights.view().block(0, 0, rows, seen),
                            dS = gradient.view().block(0, 0, rows, seen);
    attention_weights(pool, q, k, begin, P, operators);
    gemm(pool, Op::kTranspose, Op::kNone, 1.0F, P, dh, 1.0F, out.dV.block(0, 0, seen, d));
    gemm(pool, Op::kNone, Op::kTranspose, 1.0F, dh, V.block(0, 0, seen, d), 0.0F, dS);
    for (int64_t i = 0; i < rows; ++i) {
      const auto p = P.row(i), ds = dS.row(i);
      double mean = 0;
      for (size_t j = 0; j < p.size(); ++j)
        mean += static_cast<double>(p[j]) * static_cast<double>(ds[j]);
      for (size_t j = 0; j < p.size(); ++j) ds[j] = p[j] * (ds[j] - static_cast<float>(mean));
    }
    gemm(pool, Op::kNone, Op::kNone, scale, dS, k, 0.0F, out.dQ.block(begin, 0, rows, d));
    gemm(pool, Op::kTranspose, Op::kNone, scale, dS, q, 1.0F, out.dK.block(0, 0, seen, d));
  }
}

}  // namespace

// y_i = s w_i x_i with s = 1/sqrt(mean(x^2) + e), ds/dx_j = -s^3 x_j / n.
void rms_norm_backward(std::span<const float> x, std::span<const float> weight, double epsilon,
                       std::span<float> dy) {
  double square = 0, product = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto v = static_cast<double>(x[i]);
    square += v * v;
    product += v * static_cast<double>(weight[i]) * static_cast<double>(dy[i]);
  }
  const auto n = static_cast<double>(x.size());
  const double s = 1.0 / std::sqrt(square / n + epsilon);
  const auto scale = static_cast<float>(s), along = static_cast<float>(s * s * s * product / n);
  for (size_t i = 0; i < x.size(); ++i) dy[i] = dy[i] * weight[i] * scale - x[i] * along;
}

void rms_norm_backward(ThreadPool& pool, MatrixView<const float> X, std::span<const float> weight,
                       double epsilon, MatrixView<float> dY) {
  pool.parallel_for(tile_count(X.rows(), kRowTile), [&](int64_t tile) {
    const int64_t end = std::min(X.rows(), (tile + 1) * kRowTile);
    for (int64_t i = tile * kRowTile; i < end; ++i)
      rms_norm_backward(X.row(i), weight, epsilon, dY.row(i));
  });
}

// silu(g) = g s with s = 1/(1 + exp(-g)); its derivative is s (1 + g (1 - s)).
void gate_backward(std::span<float> gate, std::span<float> up, std::span<const float> dg) {
  for (size_t i = 0; i < gate.size(); ++i) {
    const float g = gate[i], s = 1.0F / (1.0F + std::exp(-g)), d = dg[i];
    gate[i] = d * up[i] * s * (1.0F + g * (1.0F - s));
    up[i] = d * g * s;
  }
}

void place_heads_backward(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                          std::span<const float> norm, std::span<const int64_t> positions,
                          MatrixView<const float> raw, MatrixView<float> dY) {
  assert(norm.empty() || (raw.rows() == dY.rows() && raw.cols() == dY.cols()));
  const auto head_dim = static_cast<size_t>(config.head_dim);
  pool.parallel_for(tile_count(dY.rows(), kRowTile), [&](int64_t tile) {
    const int64_t end = std::min(dY.rows(), (tile + 1) * kRowTile);
    for (int64_t i = tile * kRowTile; i < end; ++i) {
      for (size_t begin = 0; begin < static_cast<size_t>(dY.cols()); begin += head_dim) {
        const auto head = dY.row(i).subspan(begin, head_dim);
        rope.rotate_back(positions[static_cast<size_t>(i)], head);
        if (!norm.empty())
          rms_norm_backward(raw.row(i).subspan(begin, head_dim), norm, config.norm_epsilon, head);
      }
    }
  });
}

// A tile is a head of keys in a window, with all the heads of queries that share it, in their
// order.
Heads attend_backward(ThreadPool& pool, const ModelConfig& config, int64_t length,
                      const Heads& heads, MatrixView<const float> dH, const Operators& operators) {
  const int64_t tokens = heads.Q.rows(), d = config.head_dim;
  const int64_t group = config.heads / config.kv_heads;
  Heads out{.Q = Matrix<float>(tokens, heads.Q.cols()),
            .K = Matrix<float>(tokens, heads.K.cols()),
            .V = Matrix<float>(tokens, heads.V.cols())};
  pool.parallel_for(tokens / length * config.kv_heads, [&](int64_t tile) {
    const int64_t first = tile / config.kv_heads * length, kv = tile % config.kv_heads;
    for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
      attend_head_backward(pool, heads.Q.view().block(first, head * d, length, d),
                           heads.K.view().block(first, kv * d, length, d),
                           heads.V.view().block(first, kv * d, length, d),
                           dH.block(first, head * d, length, d),
                           {.dQ = out.Q.view().block(first, head * d, length, d),
                            .dK = out.K.view().block(first, kv * d, length, d),
                            .dV = out.V.view().block(first, kv * d, length, d)},
                           operators);
    }
  });
  return out;
}

}  // namespace watersic
