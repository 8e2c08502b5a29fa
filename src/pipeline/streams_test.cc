// The two streams against a direct computation with the blocks' own forward pass.
#include "pipeline/streams.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "checkpoint/checkpoint.h"
#include "linalg/blas.h"
#include "model/forward.h"
#include "support/small_checkpoint.h"

namespace watersic {
namespace {

class StreamsTest : public testing::Test {
 protected:
  static constexpr int64_t kLength = 32, kWindows = 5, kTokens = kLength * kWindows;

  void SetUp() override {
    write_small_checkpoint(pool_, folder_ / "model");
    config_ = load_config(folder_ / "model");
    source_ = std::make_unique<CheckpointSource>(folder_ / "model");
    X_ = random_rows(kTokens);
  }
  Matrix<float> random_rows(int64_t tokens) const {
    Rng rng(3);
    Matrix<float> out(tokens, config_.hidden);
    for (float& x : out.values()) x = static_cast<float>(rng.normal());
    return out;
  }
  // Streams that begin with X.
  static Streams::EmbedFn from(const Matrix<float>& X) {
    return [&X](int64_t first, int64_t windows) {
      const auto each = static_cast<size_t>(kLength * X.cols());
      Matrix<float> out(windows * kLength, X.cols());
      std::ranges::copy(X.values().subspan(static_cast<size_t>(first) * each,
                                           static_cast<size_t>(windows) * each),
                        out.values().begin());
      return out;
    };
  }
  BlockWeights block(int64_t index) { return load_block(pool_, config_, *source_, index); }
  // The same weights, a little off.
  BlockWeights damaged(int64_t index) {
    BlockWeights weights = block(index);
    Rng rng(static_cast<uint64_t>(index) + 7);
    for (DenseLayer& layer : weights.linear)
      for (float& w : layer.weight.values()) w *= 1 + 0.2F * static_cast<float>(rng.normal());
    return weights;
  }
  // Inputs of a block's stages, and the stream before attention, after it, and after the block.
  struct Trace {
    std::array<Matrix<float>, 4> input;
    Matrix<float> before, between, after;
  };
  Trace trace(const BlockWeights& weights, const Matrix<float>& X) {
    Trace out;
    out.before = out.after = X;
    forward_block(pool_, config_, RopeTable(config_, kLength), weights, kLength, out.after,
                  [&](Capture capture, MatrixView<const float> input) {
                    Matrix<float>& copy = out.input[static_cast<size_t>(capture)];
                    copy = Matrix<float>(input.rows(), input.cols());
                    for (int64_t i = 0; i < input.rows(); ++i)
                      std::copy(input.row(i).begin(), input.row(i).end(), copy.row(i).begin());
                  });
    out.between = X;
    add_linear(pool_, weights, kOutput, kLength, out.input[1], out.between);
    return out;
  }

  ThreadPool pool_{2};
  TestFolder folder_{"streams"};
  ModelConfig config_;
  std::unique_ptr<CheckpointSource> source_;
  Matrix<float> X_;
};

// |A - mean of left^T right|, relative.
template <class T>
double difference(ThreadPool& pool, const Matrix<T>& A, const Matrix<float>& left,
                  const Matrix<float>& right) {
  const auto wide = [](const Matrix<float>& M) {
    Matrix<double> out(M.rows(), M.cols());
    std::ranges::copy(M.values(), out.values().begin());
    return out;
  };
  Matrix<double> expected(left.cols(), right.cols());
  gemm(pool, Op::kTranspose, Op::kNone, 1.0 / static_cast<double>(left.rows()), wide(left),
       wide(right), 0.0, expected.view());
  EXPECT_EQ(A.rows(), left.cols());
  EXPECT_EQ(A.cols(), right.cols());
  double error = 0, size = 0;
  for (size_t i = 0; i < A.values().size(); ++i) {
    error += std::pow(static_cast<double>(A.values()[i]) - expected.values()[i], 2);
    size += expected.values()[i] * expected.values()[i];
  }
  return std::sqrt(error / size);
}

Matrix<float> minus(const Matrix<float>& A, const Matrix<float>& B) {
  Matrix<float> out = A;
  for (size_t i = 0; i < out.values().size(); ++i) out.values()[i] -= B.values()[i];
  return out;
}

class StreamsOfTwo : public StreamsTest, public testing::WithParamInterface<int64_t> {};
// With many W x' is left to the sums.
INSTANTIATE_TEST_SUITE_P(Windows, StreamsOfTwo, testing::Values(5, 48));

TEST_P(StreamsOfTwo, StatisticsAreThoseOfTheTwoModels) {
  constexpr double kClose = 1e-4;
  const Capture stages[] = {Capture::kQkv, Capture::kO, Capture::kGateUp, Capture::kDown};
  const TestFolder folder("streams");
  const int64_t windows = GetParam();
  Matrix<float> X = random_rows(windows * kLength), Xq = X;
  Streams streams(pool_, config_, windows, kLength, from(X), true, folder / "out");
  for (int64_t index = 0; index < 2; ++index) {
    const BlockWeights original = block(index), quantized = damaged(index);
    const Trace x = trace(original, X), xq = trace(quantized, Xq);
    streams.begin_block(original);
    for (const Capture stage : stages) {
      const auto point = static_cast<size_t>(stage);
      const bool adds = stage == Capture::kO || stage == Capture::kDown;
      const bool residual = adds && index == 1;
      const StageStatistics out = streams.statistics(stage, {.drift = true, .residual = residual});
      EXPECT_LT(difference(pool_, out.plain.S, x.input[point], x.input[point]), kClose);
      EXPECT_LT(difference(pool_, out.plain.S_quantized, xq.input[point], xq.input[point]), kClose);
      if (adds) {
        EXPECT_TRUE(out.plain.drift.empty());
        const bool o = stage == Capture::kO;
        const Matrix<float>&r = o ? x.before : x.between, &rq = o ? xq.before : xq.between;
        // What the block would add for x and for x', to r and r' or else to r.
        Matrix<float> is = r, would = residual ? rq : r;
        for (const auto& [input, to] : {std::pair{&x, &is}, {&xq, &would}})
          add_linear(pool_, original, o ? kOutput : kDown, kLength, input->input[point], *to);
        EXPECT_LT(difference(pool_, out.lost, minus(is, would), xq.input[point]), kClose);
      } else if (index == 0 && stage == Capture::kQkv) {  // x = x'
        for (const double value : out.plain.drift.values()) EXPECT_EQ(value, 0);
      } else {
        EXPECT_LT(difference(pool_, out.plain.drift, minus(x.input[point], xq.input[point]),
                             xq.input[point]),
                  kClose);
      }
      EXPECT_EQ(out.capture_error == 0, index == 0 && stage == Capture::kQkv);
      // The stage's layers come into place when it is done, and not before.
      for (const LinearSite& site : linear_sites(config_, index))
        if (site.input == stage)
          streams.quantized().linear[site.linear] = quantized.linear[site.linear];
      if (stage == Capture::kQkv || stage == Capture::kGateUp) {
        double error = 0, energy = 0;
        const Matrix<float>&u = x.input[point + 1], &uq = xq.input[point + 1];
        for (size_t i = 0; i < u.values().size(); ++i) {
          error += std::pow(static_cast<double>(uq.values()[i]) - u.values()[i], 2);
          energy += std::pow(static_cast<double>(u.values()[i]), 2);
        }
        EXPECT_NEAR(streams.next_input_error(stage, windows * kLength) / (error / energy), 1,
                    kClose);
      }
    }
    streams.end_block();
    X = x.after;
    Xq = xq.after;
  }
}

TEST_F(StreamsTest, AStageThatIsPassedLeavesTheSameStreams) {
  // And what one keeps is what the other computes again.
  const TestFolder folder("streams");
  Streams looked(pool_, config_, kWindows, kLength, from(X_), true, folder / "out"),
      passed(pool_, config_, kWindows, kLength, from(X_), true, folder / "out", true);
  for (int64_t index = 0; index < 2; ++index) {
    looked.begin_block(block(index));
    passed.begin_block(block(index));
    for (const Capture stage : {Capture::kQkv, Capture::kO, Capture::kGateUp, Capture::kDown}) {
      const StageStatistics out = looked.statistics(stage, {.drift = true});
      if (index == 0) {
        passed.pass(stage);
      } else {
        const StageStatistics same = passed.statistics(stage, {.drift = true});
        ASSERT_TRUE(std::ranges::equal(out.plain.drift.values(), same.plain.drift.values()));
        ASSERT_TRUE(std::ranges::equal(out.lost.values(), same.lost.values()));
      }
      for (Streams* streams : {&looked, &passed})
        for (const LinearSite& site : linear_sites(config_, index))
          if (site.input == stage)
            streams->quantized().linear[site.linear] = damaged(index).linear[site.linear];
    }
    looked.end_block();
    passed.end_block();
  }
}

TEST_F(StreamsTest, TokensAreWeightedByTheAttentionTheyGet) {
  const BlockWeights weights = block(0);
  const Matrix<float> A = attention_input(pool_, config_, weights, X_);
  std::vector<float> received;
  const RopeTable rope(config_, kLength);
  attention(pool_, config_, rope, weights, kLength, A, &received);
  ASSERT_EQ(received.size(), static_cast<size_t>(kTokens));
  // By the definition, from the heads.
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < kTokens; ++i) positions.push_back(i % kLength);
  const Heads heads = project_heads(pool_, config_, rope, weights, kLength, positions, A);
  const int64_t d = config_.head_dim, group = config_.heads / config_.kv_heads;
  for (int64_t window = 0; window < kWindows; ++window) {
    std::vector<double> sum(kLength);
    for (int64_t h = 0; h < config_.heads; ++h) {
      for (int64_t i = 0; i < kLength; ++i) {
        std::vector<double> p;
        double total = 0;
        for (int64_t j = 0; j <= i; ++j) {
          double dot = 0;
          for (int64_t k = 0; k < d; ++k)
            dot += static_cast<double>(heads.Q(window * kLength + i, h * d + k)) *
                   heads.K(window * kLength + j, h / group * d + k);
          p.push_back(std::exp(dot / std::sqrt(static_cast<double>(d))));
          total += p.back();
        }
        for (int64_t j = 0; j <= i; ++j)
          sum[static_cast<size_t>(j)] += p[static_cast<size_t>(j)] / total;
      }
    }
    for (int64_t j = 0; j < kLength; ++j) {
      const double expected =
          sum[static_cast<size_t>(j)] / static_cast<double>(config_.heads * (kLength - j));
      EXPECT_NEAR(received[static_cast<size_t>(window * kLength + j)], expected, 1e-5 * expected);
    }
  }
  Streams streams(pool_, config_, kWindows, kLength, from(X_), false);
  streams.begin_block(weights);
  const StageStatistics out = streams.statistics(Capture::kQkv, {.attention = true});
  Matrix<float> weighted = A;
  for (int64_t i = 0; i < kTokens; ++i)
    for (float& value : weighted.row(i)) value *= received[static_cast<size_t>(i)];
  EXPECT_LT(difference(pool_, out.weighted.S, weighted, A), 1e-5);
  EXPECT_LT(difference(pool_, out.plain.S, A, A), 1e-5);

  // And by weights of their own, which the last window does not have.
  std::vector<float> own(static_cast<size_t>(kTokens - kLength));
  for (size_t i = 0; i < own.size(); ++i) {
    own[i] = 0.5F + static_cast<float>(i % 3);
    for (float& value : weighted.row(static_cast<int64_t>(i))) value *= own[i];
  }
  streams.begin_block(weights);
  EXPECT_LT(
      difference(pool_,
                 streams.statistics(Capture::kQkv, {.attention = true, .tokens = own}).weighted.S,
                 weighted, A),
      1e-5);
}

TEST_F(StreamsTest, TheHeadSeesBothStreamsThroughTheNorm) {
  Streams streams(pool_, config_, kWindows, kLength, from(X_), true);
  Matrix<float> Xq = X_;
  for (float& x : Xq.values()) x *= 1.5F;
  Xq(0, 0) += 1;
  streams.set_quantized_input(from(Xq));
  const std::vector<float> norm = source_->vector(kFinalNorm);
  const StageStatistics found = streams.head_statistics(norm, true);
  Matrix<float> A(kTokens, config_.hidden), B = A;
  rms_norm(pool_, X_, norm, config_.norm_epsilon, A);
  rms_norm(pool_, Xq, norm, config_.norm_epsilon, B);
  for (const auto& [i, j] : {std::pair<int64_t, int64_t>{0, 0}, {3, 5}, {7, 2}}) {
    double plain = 0, quantized = 0, drift = 0;
    for (int64_t t = 0; t < kTokens; ++t) {
      plain += static_cast<double>(A(t, i)) * A(t, j) / kTokens;
      quantized += static_cast<double>(B(t, i)) * B(t, j) / kTokens;
      drift += static_cast<double>(A(t, i) - B(t, i)) * B(t, j) / kTokens;
    }
    EXPECT_NEAR(found.plain.S(i, j), plain, 1e-5);
    EXPECT_NEAR(found.plain.S_quantized(i, j), quantized, 1e-5);
    EXPECT_NEAR(found.plain.drift(i, j), drift, 1e-5);
  }
}

}  // namespace
}  // namespace watersic
