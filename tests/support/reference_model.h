// A model for tests, independent of the real one: scalar loops in float64, written from the
// definition. Its weights may be changed, so that gradients can be checked by differences.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"
#include "model/weights.h"
#include "watersic/matrix.h"

namespace watersic {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

class ReferenceModel {
 public:
  ReferenceModel(const ModelConfig& config, const WeightSource& source) : config_(config) {
    for (const std::string& name : source.names()) {
      const Matrix<float> values = source.matrix(name);
      Matrix<double>& mine = weights_[name] = Matrix<double>(values.rows(), values.cols());
      std::copy(values.values().begin(), values.values().end(), mine.values().begin());
    }
  }

  // May be changed.
  Matrix<double>& weight(const std::string& name) { return weights_.at(name); }

  // Logits of each token of a window; keeps the inputs of the linear layers.
  Rows logits(const std::vector<int32_t>& window) {
    const Matrix<double>& embedding = weights_.at(kEmbedding);
    Rows x;
    for (const int32_t id : window)
      x.emplace_back(embedding.row(id).begin(), embedding.row(id).end());
    for (int64_t block = 0; block < config_.blocks; ++block) run_block(block, x);
    for (Row& row : x) row = norm(row, kFinalNorm);
    return linear(x, config_.tied_embeddings ? kEmbedding : kHead, false);
  }

  std::map<std::pair<int64_t, Capture>, Rows> captured;

  void run_block(int64_t block, Rows& x) {
    const auto name = [&](const char* part) { return block_tensor(block, part); };
    const bool qkv_bias = config_.qkv_bias, o_bias = config_.o_bias, mlp_bias = config_.mlp_bias;
    Rows a;
    for (const Row& row : x) a.push_back(norm(row, name("input_layernorm.weight")));
    captured[{block, Capture::kQkv}] = a;
    Rows q = linear(a, name("self_attn.q_proj.weight"), qkv_bias);
    Rows k = linear(a, name("self_attn.k_proj.weight"), qkv_bias);
    const Rows v = linear(a, name("self_attn.v_proj.weight"), qkv_bias);
    for (size_t t = 0; t < x.size(); ++t) {
      place(q[t], t, name("self_attn.q_norm.weight"));
      place(k[t], t, name("self_attn.k_norm.weight"));
    }
    const auto d = static_cast<size_t>(config_.head_dim);
    const auto group = static_cast<size_t>(config_.heads / config_.kv_heads);
    Rows h(x.size(), Row(static_cast<size_t>(config_.query_size())));
    for (size_t head = 0; head < static_cast<size_t>(config_.heads); ++head) {
      const size_t kv = head / group;
      for (size_t t = 0; t < x.size(); ++t) {
        Row p;
        double sum = 0;
        for (size_t s = 0; s <= t; ++s) {
          double score = 0;
          for (size_t i = 0; i < d; ++i) score += q[t][head * d + i] * k[s][kv * d + i];
          p.push_back(std::exp(score / std::sqrt(static_cast<double>(d))));
          sum += p.back();
        }
        for (size_t s = 0; s <= t; ++s)
          for (size_t i = 0; i < d; ++i) h[t][head * d + i] += p[s] / sum * v[s][kv * d + i];
      }
    }
    captured[{block, Capture::kO}] = h;
    add(x, linear(h, name("self_attn.o_proj.weight"), o_bias));

    Rows m;
    for (const Row& row : x) m.push_back(norm(row, name("post_attention_layernorm.weight")));
    captured[{block, Capture::kGateUp}] = m;
    Rows g = linear(m, name("mlp.gate_proj.weight"), mlp_bias);
    const Rows u = linear(m, name("mlp.up_proj.weight"), mlp_bias);
    for (size_t t = 0; t < g.size(); ++t)
      for (size_t i = 0; i < g[t].size(); ++i)
        g[t][i] = g[t][i] / (1 + std::exp(-g[t][i])) * u[t][i];
    captured[{block, Capture::kDown}] = g;
    add(x, linear(g, name("mlp.down_proj.weight"), mlp_bias));
  }

 private:
  static void add(Rows& x, const Rows& y) {
    for (size_t t = 0; t < x.size(); ++t)
      for (size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
  }

  Rows linear(const Rows& x, const std::string& name, bool bias) const {
    const Matrix<double>& W = weights_.at(name);
    Rows y;
    for (const Row& row : x) {
      Row out;
      for (int64_t i = 0; i < W.rows(); ++i) {
        double sum = 0;
        for (int64_t j = 0; j < W.cols(); ++j) sum += W(i, j) * row[static_cast<size_t>(j)];
        out.push_back(sum);
      }
      y.push_back(out);
    }
    if (bias) {
      const Matrix<double>& b = weights_.at(name.substr(0, name.size() - 6) + "bias");
      for (Row& row : y)
        for (size_t i = 0; i < row.size(); ++i) row[i] += b.values()[i];
    }
    return y;
  }

  Row norm(const Row& x, const std::string& name) const {
    const Matrix<double>& weight = weights_.at(name);
    double square = 0;
    for (const double value : x) square += value * value / static_cast<double>(x.size());
    Row y;
    for (size_t i = 0; i < x.size(); ++i)
      y.push_back(x[i] / std::sqrt(square + config_.norm_epsilon) * weight.values()[i]);
    return y;
  }

  double frequency(size_t i) const {
    const RopeConfig& rope = config_.rope;
    const double f =
        std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(config_.head_dim));
    if (rope.type == RopeConfig::Type::kDefault) return f;
    if (rope.type == RopeConfig::Type::kLinear) return f / rope.factor;
    // Turns of this pair within the original context, from `low` to `high`: the part kept.
    const double turns = rope.original_max_positions * f / (2 * std::numbers::pi);
    const double kept = std::clamp((turns - rope.low_frequency_factor) /
                                       (rope.high_frequency_factor - rope.low_frequency_factor),
                                   0.0, 1.0);
    return kept * f + (1 - kept) * f / rope.factor;
  }

  void place(Row& heads, size_t position, const std::string& norm_name) const {
    const auto d = static_cast<size_t>(config_.head_dim);
    for (size_t begin = 0; begin < heads.size(); begin += d) {
      Row head(heads.begin() + static_cast<int64_t>(begin),
               heads.begin() + static_cast<int64_t>(begin + d));
      if (config_.qk_norm) head = norm(head, norm_name);
      for (size_t i = 0; i < d / 2; ++i) {
        const double angle = static_cast<double>(position) * frequency(i);
        const double a = head[i], b = head[i + d / 2];
        heads[begin + i] = a * std::cos(angle) - b * std::sin(angle);
        heads[begin + i + d / 2] = a * std::sin(angle) + b * std::cos(angle);
      }
    }
  }

  const ModelConfig& config_;
  std::map<std::string, Matrix<double>> weights_;
};

}  // namespace watersic
