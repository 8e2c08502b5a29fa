// The forward pass against an independent one: scalar loops in float64, written from the
// definition.
#include "model/forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "checkpoint/checkpoint.h"
#include "support/reference_model.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

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
    ReferenceModel reference(config_, source_);
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
