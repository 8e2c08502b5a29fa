// Gradients against central differences of the definitions in float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/rng.h"
#include "model/block_backward.h"
#include "model/model_backward.h"
#include "model/operators_backward.h"
#include "support/reference_model.h"
#include "support/tiny_models.h"

namespace watersic {
namespace {

constexpr double kStep = 1e-5;  // of the differences: errors of about 1e-10
// Of a gradient in float32, by its norm.
constexpr double kTolerance = 2e-5;

std::vector<float> normals(Rng& rng, size_t n, double spread = 1) {
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(spread * rng.normal());
  return x;
}
Matrix<float> normal_matrix(Rng& rng, int64_t rows, int64_t cols) {
  Matrix<float> X(rows, cols);
  for (float& v : X.values()) v = static_cast<float>(rng.normal());
  return X;
}
Row widened(std::span<const float> x) { return {x.begin(), x.end()}; }

double norm(std::span<const float> x) {
  double square = 0;
  for (const float v : x) square += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(square);
}

// That `gradient` is the one of f at x: along random directions, and element by element where that
// is cheap.
void expect_gradient(std::span<const float> gradient, Row x,
                     const std::function<double(const Row&)>& f, uint64_t seed = 1) {
  ASSERT_EQ(gradient.size(), x.size());
  const double tolerance = kTolerance * norm(gradient);
  ASSERT_GT(tolerance, 0);
  Rng rng(seed);
  for (int trial = 0; trial < 3; ++trial) {
    Row up = x, down = x;
    double expected = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = rng.normal();
      up[i] += kStep * d;
      down[i] -= kStep * d;
      expected += static_cast<double>(gradient[i]) * d;
    }
    EXPECT_NEAR((f(up) - f(down)) / (2 * kStep), expected, tolerance);
  }
  if (x.size() > 100) return;
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + kStep;
    const double up = f(x);
    x[i] = at - kStep;
    const double down = f(x);
    x[i] = at;
    EXPECT_NEAR((up - down) / (2 * kStep), static_cast<double>(gradient[i]), tolerance) << i;
  }
}

double dot(const Row& a, const Row& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Row plain_norm(const Row& x, const Row& weight, double epsilon) {
  const double scale = 1 / std::sqrt(dot(x, x) / static_cast<double>(x.size()) + epsilon);
  Row y;
  for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * scale * weight[i]);
  return y;
}

TEST(Operators, RmsNorm) {
  Rng rng(1);
  for (const double spread : {1.0, 1e-3}) {  // of the size of sqrt(epsilon), too
    const auto x = normals(rng, 40, spread), weight = normals(rng, 40), dy = normals(rng, 40);
    std::vector<float> dx = dy;
    rms_norm_backward(x, weight, 1e-6, dx);
    const double unit = spread;  // differences at the scale of x
    std::vector<float> scaled = dx;
    for (float& v : scaled) v *= static_cast<float>(unit);
    Row at = widened(x);
    for (double& v : at) v /= unit;
    expect_gradient(scaled, at, [&](Row z) {
      for (double& v : z) v *= unit;
      return dot(plain_norm(z, widened(weight), 1e-6), widened(dy));
    });
  }
}

TEST(Operators, Gate) {
  Rng rng(2);
  const auto gate = normals(rng, 30, 4), up = normals(rng, 30), dg = normals(rng, 30);
  auto dgate = gate, dup = up;
  gate_backward(dgate, dup, dg);
  const auto loss = [&](const Row& g, const Row& u) {
    double sum = 0;
    for (size_t i = 0; i < g.size(); ++i)
      sum += g[i] / (1 + std::exp(-g[i])) * u[i] * static_cast<double>(dg[i]);
    return sum;
  };
  expect_gradient(dgate, widened(gate), [&](const Row& g) { return loss(g, widened(up)); });
  expect_gradient(dup, widened(up), [&](const Row& u) { return loss(widened(gate), u); });
  // Far out, where the exponential overflows.
  std::vector<float> far = {-200, 200}, one = {1, 1};
  gate_backward(far, one, std::vector<float>{1, 1});
  EXPECT_EQ(far, (std::vector<float>{0, 1}));
  EXPECT_EQ(one[1], 200);
  EXPECT_NEAR(one[0], 0, 1e-30);
}

TEST(Operators, RopeGoesBack) {
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");
  const RopeTable rope(config, 50);
  Rng rng(3);
  const auto x = normals(rng, 16), dy = normals(rng, 16);
  for (const int64_t position : {0, 1, 49}) {
    auto y = x, dx = dy;
    rope.rotate(position, y);
    rope.rotate_back(position, dx);
    // <R x, dy> = <x, R^T dy>
    EXPECT_NEAR(dot(widened(y), widened(dy)), dot(widened(x), widened(dx)), 1e-5);
    rope.rotate_back(position, y);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], x[i], 1e-6);
  }
}

// Heads that share keys, and more positions than a tile of queries.
TEST(Operators, Attention) {
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");  // 4 heads on 2
  const int64_t d = config.head_dim, length = kQueryTile + 12, tokens = 2 * length;
  const int64_t q = config.query_size(), kv = config.kv_size();
  Rng rng(4);
  const Heads heads{.Q = normal_matrix(rng, tokens, q),
                    .K = normal_matrix(rng, tokens, kv),
                    .V = normal_matrix(rng, tokens, kv)};
  const Matrix<float> dH = normal_matrix(rng, tokens, q);
  ThreadPool pool(2);
  const Heads grad = attend_backward(pool, config, length, heads, dH);

  const auto loss = [&](const Row& Q, const Row& K, const Row& V) {
    const auto at = [](const Row& X, int64_t t, int64_t i, int64_t cols) {
      return X[static_cast<size_t>(t * cols + i)];
    };
    double total = 0;
    for (int64_t head = 0; head < config.heads; ++head) {
      const int64_t key = head / 2;
      for (int64_t t = 0; t < tokens; ++t) {
        double sum = 0, value = 0;
        for (int64_t s = t - t % length; s <= t; ++s) {
          double score = 0, along = 0;
          for (int64_t i = 0; i < d; ++i) {
            score += at(Q, t, head * d + i, q) * at(K, s, key * d + i, kv);
            along += at(V, s, key * d + i, kv) * static_cast<double>(dH(t, head * d + i));
          }
          const double p = std::exp(score / std::sqrt(static_cast<double>(d)));
          sum += p;
          value += p * along;
        }
        total += value / sum;
      }
    }
    return total;
  };
  const Row Q = widened(heads.Q.values()), K = widened(heads.K.values()),
            V = widened(heads.V.values());
  expect_gradient(grad.Q.values(), Q, [&](const Row& x) { return loss(x, K, V); });
  expect_gradient(grad.K.values(), K, [&](const Row& x) { return loss(Q, x, V); });
  expect_gradient(grad.V.values(), V, [&](const Row& x) { return loss(Q, K, x); });
}

double log_sum_exp(const Row& x) {
  double sum = 0;
  for (const double v : x) sum += std::exp(v);
  return std::log(sum);
}
double plain_kl(const Row& r, const Row& l) {
  double kl = 0;
  for (size_t i = 0; i < r.size(); ++i)
    kl += std::exp(r[i] - log_sum_exp(r)) * (r[i] - log_sum_exp(r) - l[i] + log_sum_exp(l));
  return kl;
}

TEST(Losses, Kl) {
  Rng rng(5);
  ThreadPool pool(2);
  const Matrix<float> r = normal_matrix(rng, 3, 30), l = normal_matrix(rng, 3, 30);
  Matrix<float> reference = r, logits = l;
  const double kl = kl_loss(pool, 0.5F, reference, logits);
  double expected = 0;
  for (int64_t i = 0; i < 3; ++i) {
    expected += plain_kl(widened(r.row(i)), widened(l.row(i)));
    expect_gradient(logits.row(i), widened(l.row(i)),
                    [&](const Row& x) { return 0.5 * plain_kl(widened(r.row(i)), x); });
  }
  EXPECT_NEAR(kl, expected, 1e-6);
}

TEST(Losses, EqualDistributionsHaveNoKl) {
  Rng rng(6);
  ThreadPool pool(1);
  Matrix<float> r = normal_matrix(rng, 2, 300);
  for (float& x : r.row(1)) x *= 30;  // nearly certain
  Matrix<float> logits = r;
  for (float& x : logits.row(0)) x += 5;  // which changes no distribution
  EXPECT_NEAR(kl_loss(pool, 1, r, logits), 0, 1e-6);
  for (const float x : logits.values()) EXPECT_NEAR(x, 0, 1e-6);
}

class Backward : public ::testing::TestWithParam<std::string> {
 protected:
  ModelConfig config_ = parse_config(tiny_config(GetParam()), "config.json");
  MemorySource source_ = random_model(config_, 1);
};
INSTANTIATE_TEST_SUITE_P(Architectures, Backward, ::testing::ValuesIn(tiny_kinds()),
                         [](const auto& test) { return test.param; });

TEST_P(Backward, ABlocksInput) {
  ThreadPool pool(2);
  const int64_t length = 9;
  Rng rng(7);
  const Matrix<float> X = normal_matrix(rng, 2 * length, config_.hidden),
                      dY = normal_matrix(rng, 2 * length, config_.hidden);
  Matrix<float> dX = dY;
  std::vector<Linear> seen;
  backward_block(pool, config_, RopeTable(config_, length), load_block(pool, config_, source_, 1),
                 length, X, dX, [&](Linear linear, const LinearGradient& layer) {
                   seen.push_back(linear);
                   const Matrix<float> dW = layer.dW(pool);
                   const LinearSite site = linear_sites(config_, 1)[static_cast<size_t>(linear)];
                   EXPECT_EQ(dW.rows(), site.rows);
                   EXPECT_EQ(dW.cols(), site.cols);
                 });
  EXPECT_EQ(seen, (std::vector<Linear>{kDown, kUp, kGate, kOutput, kValue, kKey, kQuery}));
  Matrix<float> alone = dY;
  backward_block(pool, config_, RopeTable(config_, length), load_block(pool, config_, source_, 1),
                 length, X, alone, {});
  EXPECT_TRUE(std::ranges::equal(alone.values(), dX.values()));

  ReferenceModel model(config_, source_);
  expect_gradient(dX.values(), widened(X.values()), [&](const Row& x) {
    double total = 0;
    for (int64_t w = 0; w < 2; ++w) {  // window by window: attention sees no other
      Rows rows;
      for (int64_t t = 0; t < length; ++t) {
        const auto from = x.begin() + (w * length + t) * config_.hidden;
        rows.emplace_back(from, from + config_.hidden);
      }
      model.run_block(1, rows);
      for (int64_t t = 0; t < length; ++t)
        total += dot(rows[static_cast<size_t>(t)], widened(dY.row(w * length + t)));
    }
    return total;
  });
}

// Every linear weight of a whole model, through the KL from another model's logits.
TEST_P(Backward, TheWholeModel) {
  ThreadPool pool(2);
  const int length = 7;
  const auto windows = random_windows(config_, 2, length, 8);
  Rng rng(9);
  const Matrix<float> others = normal_matrix(rng, 2 * length, config_.vocabulary);
  std::map<std::string, Matrix<float>> gradients;
  const double loss = model_backward(
      pool, config_, source_, OutputHead(config_, source_), windows,
      [&](int64_t first, MatrixView<float> logits) {
        Matrix<float> reference(logits.rows(), logits.cols());
        for (int64_t i = 0; i < logits.rows(); ++i)
          std::ranges::copy(others.row(first + i), reference.row(i).begin());
        return kl_loss(pool, 1, reference, logits);
      },
      [&](int64_t block, Linear linear, const LinearGradient& layer) {
        const std::string name = linear_sites(config_, block)[static_cast<size_t>(linear)].name;
        EXPECT_EQ(layer.W(1, 2), source_.matrix(name)(1, 2));
        EXPECT_TRUE(gradients.emplace(name, layer.dW(pool)).second) << name;
      });
  ASSERT_EQ(static_cast<int64_t>(gradients.size()), kLinears * config_.blocks);

  ReferenceModel model(config_, source_);
  const auto plain_loss = [&] {
    double total = 0;
    for (size_t w = 0; w < windows.size(); ++w) {
      const Rows logits = model.logits(windows[w]);
      for (size_t t = 0; t < logits.size(); ++t)
        total += plain_kl(widened(others.row(static_cast<int64_t>(w * windows[w].size() + t))),
                          logits[t]);
    }
    return total;
  };
  EXPECT_NEAR(loss, plain_loss(), 1e-5 * loss);
  for (const auto& [name, gradient] : gradients) {
    SCOPED_TRACE(name);
    Matrix<double>& W = model.weight(name);
    const Row at(W.values().begin(), W.values().end());
    expect_gradient(gradient.values(), at, [&](const Row& x) {
      std::ranges::copy(x, W.values().begin());
      return plain_loss();
    });
    std::ranges::copy(at, W.values().begin());
  }
}

TEST_P(Backward, BytesDoNotDependOnTheThreads) {
  const int length = 70;
  const auto windows = random_windows(config_, 12, length, 10);  // some tiles of each kind
  const OutputHead head(config_, source_);
  const auto run = [&](int threads) {
    ThreadPool pool(threads);
    std::vector<float> all;
    const double loss = model_backward(
        pool, config_, source_, head, windows,
        [&](int64_t first, MatrixView<float> logits) {
          Matrix<float> reference(logits.rows(), logits.cols());
          for (int64_t i = 0; i < logits.rows(); ++i)
            reference(i, (first + i) % config_.vocabulary) = 9;
          return kl_loss(pool, 0.01F, reference, logits);
        },
        [&](int64_t, Linear, const LinearGradient& layer) {
          const Matrix<float> dW = layer.dW(pool);
          for (int64_t i = 0; i < dW.rows(); ++i)
            all.insert(all.end(), dW.row(i).begin(), dW.row(i).end());
        });
    return std::pair(loss, all);
  };
  const auto one = run(1);
  EXPECT_EQ(run(2), one);
  EXPECT_EQ(run(3), one);
}

}  // namespace
}  // namespace watersic
