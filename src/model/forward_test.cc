// The forward pass against an independent one: scalar loops in float64, written from the
// definition.
#include "model/forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "model/checkpoint.h"
#include "model/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

class Reference {
 public:
  Reference(const ModelConfig& config, const WeightSource& source)
      : config_(config), source_(source) {}

  // Logits of each token of a window; keeps the inputs of the linear layers.
  Rows logits(const std::vector<int32_t>& window) {
    const Matrix<float> embedding = source_.matrix(kEmbedding);
    Rows x;
    for (const int32_t id : window)
      x.emplace_back(embedding.row(id).begin(), embedding.row(id).end());
    for (int64_t block = 0; block < config_.blocks; ++block) run_block(block, x);
    for (Row& row : x) row = norm(row, kFinalNorm);
    return linear(x, config_.tied_embeddings ? kEmbedding : kHead, false);
  }

  std::map<std::pair<int64_t, Capture>, Rows> captured;

 private:
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

  static void add(Rows& x, const Rows& y) {
    for (size_t t = 0; t < x.size(); ++t)
      for (size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
  }

  Rows linear(const Rows& x, const std::string& name, bool bias) const {
    const Matrix<float> W = source_.matrix(name);
    Rows y;
    for (const Row& row : x) {
      Row out;
      for (int64_t i = 0; i < W.rows(); ++i) {
        double sum = 0;
        for (int64_t j = 0; j < W.cols(); ++j)
          sum += static_cast<double>(W(i, j)) * row[static_cast<size_t>(j)];
        out.push_back(sum);
      }
      y.push_back(out);
    }
    if (bias) {
      const Matrix<float> b = source_.matrix(name.substr(0, name.size() - 6) + "bias");
      for (Row& row : y)
        for (size_t i = 0; i < row.size(); ++i) row[i] += static_cast<double>(b.values()[i]);
    }
    return y;
  }

  Row norm(const Row& x, const std::string& name) const {
    const Matrix<float> weight = source_.matrix(name);
    double square = 0;
    for (const double value : x) square += value * value / static_cast<double>(x.size());
    Row y;
    for (size_t i = 0; i < x.size(); ++i)
      y.push_back(x[i] / std::sqrt(square + config_.norm_epsilon) *
                  static_cast<double>(weight.values()[i]));
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
  const WeightSource& source_;
};

// ||A - B|| / ||B||, A's rows from `first` on.
double relative_error(MatrixView<const float> A, int64_t first, const Rows& B) {
  double difference = 0, size = 0;
  for (size_t t = 0; t < B.size(); ++t) {
    for (size_t i = 0; i < B[t].size(); ++i) {
      const auto a =
          static_cast<double>(A(first + static_cast<int64_t>(t), static_cast<int64_t>(i)));
      difference += (a - B[t][i]) * (a - B[t][i]);
      size += B[t][i] * B[t][i];
    }
  }
  return std::sqrt(difference / size);
}

class Forward : public ::testing::TestWithParam<std::string> {
 protected:
  ModelConfig config_ = parse_config(tiny_config(GetParam()), "config.json");
  MemorySource source_ = random_model(config_, 1);
};
INSTANTIATE_TEST_SUITE_P(Architectures, Forward, ::testing::ValuesIn(tiny_kinds()),
                         [](const auto& test) { return test.param; });

TEST_P(Forward, AgreesWithTheDefinition) {
  ThreadPool pool(2);
  ASSERT_NO_THROW(check_tensors(config_, source_));
  // Longer than a tile of queries, so that the causal blocks are met.
  const int length = 140;
  const auto windows = random_windows(config_, 2, length, 2);
  std::map<std::pair<int64_t, Capture>, Matrix<float>> captured;
  const Matrix<float> X =
      forward_all(pool, config_, source_, windows,
                  [&](int64_t block, Capture point, MatrixView<const float> input) {
                    Matrix<float> copy(input.rows(), input.cols());
                    for (int64_t i = 0; i < input.rows(); ++i)
                      std::ranges::copy(input.row(i), copy.row(i).begin());
                    EXPECT_TRUE((captured.emplace(std::pair(block, point), copy).second));
                  });
  const Matrix<float> logits = OutputHead(config_, source_).logits(pool, X);
  ASSERT_EQ(captured.size(), static_cast<size_t>(4 * config_.blocks));
  for (size_t w = 0; w < windows.size(); ++w) {
    Reference reference(config_, source_);
    const auto first = static_cast<int64_t>(w) * length;
    EXPECT_LT(relative_error(logits, first, reference.logits(windows[w])), 5e-6);
    for (const auto& [where, input] : captured) {
      EXPECT_EQ(input.rows(), 2 * length);
      EXPECT_LT(relative_error(input, first, reference.captured[where]), 5e-6)
          << "block " << where.first << ", " << to_string(where.second);
    }
  }
}

TEST_P(Forward, BytesDependNeitherOnTheBatchNorOnTheThreads) {
  const int length = 70;
  const auto windows = random_windows(config_, 70, length, 3);  // two batches
  ASSERT_GT(static_cast<int64_t>(windows.size()) * length, kBatchTokens);
  ThreadPool one(1);
  const Matrix<float> all = forward_all(one, config_, source_, windows);
  for (const int threads : {2, 3}) {
    ThreadPool pool(threads);
    const Matrix<float> again = forward_all(pool, config_, source_, windows);
    EXPECT_TRUE(std::ranges::equal(all.values(), again.values()));
  }
  for (const size_t w : {0, 41, 69}) {
    const Matrix<float> alone =
        forward_all(one, config_, source_, std::span(windows).subspan(w, 1));
    const auto part = all.values().subspan(w * static_cast<size_t>(length * config_.hidden));
    EXPECT_TRUE(std::ranges::equal(alone.values(), part.first(alone.values().size())));
  }
}

TEST_P(Forward, CausalityAndShortWindows) {
  ThreadPool pool(1);
  auto windows = random_windows(config_, 2, 5, 4);
  windows[1] = windows[0];
  windows[1][4] = (windows[1][4] + 1) % 50;
  const Matrix<float> X = forward_all(pool, config_, source_, windows);
  for (int64_t t = 0; t < 5; ++t)
    EXPECT_EQ(std::ranges::equal(X.row(t), X.row(5 + t)), t < 4) << "token " << t;
  EXPECT_EQ(forward_all(pool, config_, source_, random_windows(config_, 3, 1, 5)).rows(), 3);
  EXPECT_TRUE(forward_all(pool, config_, source_, {}).empty());
}

TEST_P(Forward, ErrorsNameTheBlockAndTheToken) {
  ThreadPool pool(2);
  const auto error_of = [&](const std::vector<std::vector<int32_t>>& windows) -> std::string {
    try {
      forward_all(pool, config_, source_, windows);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  };
  EXPECT_EQ(error_of({{1, 50}}), "expected token ids below the vocabulary's 50, found 50");
  EXPECT_EQ(error_of({{-1}}), "expected token ids below the vocabulary's 50, found -1");
  EXPECT_EQ(error_of({std::vector<int32_t>(513, 1)}),
            "expected windows of at most 512 tokens, the model's context, found 513");
  for (const char* name : {"mlp.gate_proj.weight", "mlp.up_proj.weight"}) {
    Matrix<float> huge = source_.matrix(block_tensor(1, name));
    for (float& x : huge.values()) x *= 1e30F;
    source_.set(block_tensor(1, name), huge);
  }
  const std::string error = error_of({{1, 2, 3}});
  EXPECT_EQ(error.find("block 1: input of down: expected finite activations, found "), 0U) << error;
}

// The configuration of Llama 3.2: short wavelengths are kept, long ones stretched, and what is
// between lies between.
TEST(Rope, TheScalingOfLlama3) {
  RopeConfig rope{.type = RopeConfig::Type::kDefault, .theta = 500000};
  const auto plain = rope_frequencies(rope, 64);
  rope.type = RopeConfig::Type::kLlama3;
  rope.factor = 32;
  rope.low_frequency_factor = 1;
  rope.high_frequency_factor = 4;
  rope.original_max_positions = 8192;
  const auto scaled = rope_frequencies(rope, 64);
  int kept = 0, mixed = 0, stretched = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / static_cast<double>(plain[i]);
    if (wavelength < 2048) {
      EXPECT_EQ(scaled[i], plain[i]);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_EQ(scaled[i], plain[i] / 32);
      ++stretched;
    } else {
      EXPECT_LT(scaled[i], plain[i]);
      EXPECT_GT(scaled[i], plain[i] / 32);
      ++mixed;
    }
    if (i > 0) {
      EXPECT_LT(scaled[i], scaled[i - 1]);
    }
  }
  EXPECT_EQ(kept, 15);
  EXPECT_EQ(mixed, 3);
  EXPECT_EQ(stretched, 14);
  EXPECT_EQ(plain[0], 1.0F);
  EXPECT_NEAR(plain[16] * std::sqrt(500000.0F), 1, 1e-6);
}

// Logits of an independent implementation that computes in float64 from the same BF16 weights.
TEST(BundledModel, GoldenLogits) {
  const std::string dir = WATERSIC_SOURCE_DIR "/models/books-llama";
  const ModelConfig config = load_config(dir);
  const CheckpointSource source(dir);
  ThreadPool pool(2);
  const std::vector<std::vector<int32_t>> windows = {
      {4094, 500,  522,  373, 777, 278, 285,  2954, 258, 1016, 2200, 84,   3585, 11,   706,  503,
       487,  338,  342,  348, 11,  278, 385,  2207, 13,  379,  302,  2650, 1893, 2435, 260,  777,
       413,  4088, 921,  299, 576, 419, 11,   278,  260, 2301, 603,  399,  260,  1466, 693,  1178,
       1255, 13,   2844, 651, 299, 309, 3818, 287,  419, 705,  11,   436,  276,  260,  3526, 631}};
  struct Golden {
    int64_t token;
    std::vector<float> logits;  // of the first tokens of the vocabulary
  };
  const Golden golden[] = {
      {0, {0.78291F, -0.21542F, -7.70568F, -4.84898F, -8.27464F, -3.49546F}},
      {1, {2.13918F, -0.98744F, -11.44536F, -4.85286F, -11.54422F, -3.89319F}},
      {31, {2.19920F, -0.79488F, -7.80876F, -5.92041F, -7.78501F, -4.15429F}},
      {63, {0.45976F, -1.21555F, -10.66173F, -6.07089F, -10.34847F, -4.94257F}}};
  const Matrix<float> logits =
      OutputHead(config, source).logits(pool, forward_all(pool, config, source, windows));
  for (const Golden& row : golden)
    for (size_t i = 0; i < row.logits.size(); ++i)
      EXPECT_NEAR(logits(row.token, static_cast<int64_t>(i)), row.logits[i], 1e-4)
          << "token " << row.token << ", logit " << i;
}

}  // namespace
}  // namespace watersic
