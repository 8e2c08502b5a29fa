#include "engine/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "checkpoint/checkpoint.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class Decoding : public ::testing::TestWithParam<std::string> {
 protected:
  ModelConfig config_ = parse_config(tiny_config(GetParam()), "config.json");
  MemorySource source_ = random_model(config_, 1);
};
INSTANTIATE_TEST_SUITE_P(Architectures, Decoding, ::testing::ValuesIn(tiny_kinds()),
                         [](const auto& test) { return test.param; });

TEST_P(Decoding, StepsGiveTheLogitsOfTheForwardPass) {
  ThreadPool pool(2);
  const int length = 40;
  const auto windows = random_windows(config_, 3, length, 2);
  const Matrix<float> logits =
      OutputHead(config_, source_).logits(pool, forward_all(pool, config_, source_, windows));
  // All weights held, the first block's only, and none.
  const int64_t block_bytes = load_block(pool, config_, source_, 0).bytes();
  for (const int64_t weight_bytes : {int64_t{1} << 30, block_bytes + 1, int64_t{0}}) {
    Decoder decoder(pool, config_, source_, 3, length, weight_bytes);
    for (int round = 0; round < 2; ++round) {
      for (int64_t t = 0; t < length; ++t) {
        std::vector<int32_t> ids;
        ids.reserve(windows.size());
        for (const auto& window : windows) ids.push_back(window[static_cast<size_t>(t)]);
        const Matrix<float> step = decoder.step(ids);
        double difference = 0, size = 0;
        for (int64_t b = 0; b < 3; ++b) {
          for (int64_t i = 0; i < config_.vocabulary; ++i) {
            difference += std::pow(step(b, i) - logits(b * length + t, i), 2);
            size += std::pow(logits(b * length + t, i), 2);
          }
        }
        EXPECT_LT(std::sqrt(difference / size), 1e-5) << "token " << t;
      }
      EXPECT_EQ(decoder.position(), length);
      decoder.reset();
    }
  }
}

// Whatever is appended at once: a token, more than a tile of queries, more than a part.
TEST_P(Decoding, AppendedTokensGiveTheLogitsOfTheForwardPass) {
  ThreadPool pool(2);
  config_.max_positions = 1024;
  const auto windows = random_windows(config_, 1, 700, 2);
  const Matrix<float> X = forward_all(pool, config_, source_, windows);
  const std::span<const int32_t> ids = windows[0];
  const OutputHead head(config_, source_);
  for (const std::vector<size_t>& parts :
       {std::vector<size_t>{700}, {1, 1, 200, 3, 495}, {130, 570}}) {
    Decoder decoder(pool, config_, source_, 1, 700, int64_t{1} << 30);
    size_t done = 0;
    for (const size_t count : parts) {
      const Matrix<float> found = decoder.append(ids.subspan(done, count));
      done += count;
      const Matrix<float> expected =
          head.logits(pool, X.view().block(static_cast<int64_t>(done) - 1, 0, 1, X.cols()));
      ASSERT_EQ(found.rows(), 1);
      double difference = 0, size = 0;
      for (int64_t i = 0; i < config_.vocabulary; ++i) {
        difference += std::pow(found(0, i) - expected(0, i), 2);
        size += std::pow(expected(0, i), 2);
      }
      EXPECT_LT(std::sqrt(difference / size), 1e-5) << "token " << done;
    }
    EXPECT_EQ(decoder.position(), 700);
  }
}

TEST_P(Decoding, ASequenceDependsOnItsSeedAndIndexOnly) {
  ThreadPool one(1), three(3);
  SampleOptions options{.count = 40, .length = 20, .first_token = 1, .seed = 7};
  const auto sequences = sample_sequences(one, config_, source_, options);
  ASSERT_EQ(sequences.size(), 40U);
  for (const auto& sequence : sequences) {
    EXPECT_EQ(sequence.size(), 20U);
    EXPECT_EQ(sequence.front(), 1);
  }
  EXPECT_EQ(sample_sequences(three, config_, source_, options), sequences);
  options.weight_bytes = 0;
  options.count = 33;
  const auto fewer = sample_sequences(three, config_, source_, options);
  EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), sequences.begin()));
  EXPECT_NE(sequences[0], sequences[1]);
  options.seed = 8;
  EXPECT_NE(sample_sequences(three, config_, source_, options)[0], sequences[0]);
}

TEST(Sampling, FollowsTheDistribution) {
  const std::vector<float> logits = {std::log(0.5F), -1000.0F, std::log(0.2F), std::log(0.3F)};
  EXPECT_EQ(sample_token(logits, 1, 0.0), 0);
  EXPECT_EQ(sample_token(logits, 1, 0.499), 0);
  EXPECT_EQ(sample_token(logits, 1, 0.501), 2);
  EXPECT_EQ(sample_token(logits, 1, 0.699), 2);
  EXPECT_EQ(sample_token(logits, 1, 0.701), 3);
  EXPECT_EQ(sample_token(logits, 1, 1 - 0x1p-53), 3);
  // At a temperature of 1/2 the squares count: 25, 4, 9 of 38.
  EXPECT_EQ(sample_token(logits, 0.5, 0.656), 0);
  EXPECT_EQ(sample_token(logits, 0.5, 0.659), 2);
  EXPECT_EQ(sample_token({{-1000.0F, -999.0F}}, 0.001, 0.5), 1);
}

// The average log-probability of sampled tokens is minus the entropy of what they were sampled
// from: a wrong cache or a wrong sampler would show.
TEST(Sampling, TheBundledModelFindsItsOwnTextLikely) {
  const std::string dir = WATERSIC_SOURCE_DIR "/models/books-llama";
  const ModelConfig config = load_config(dir);
  const CheckpointSource source(dir);
  ThreadPool pool(2);
  int64_t reported = 0;
  const auto sequences = sample_sequences(
      pool, config, source,
      {.count = 32, .length = 64, .first_token = config.first_token().value_or(0), .seed = 1},
      [&](const ProgressEvent& event) {
        EXPECT_GT(event.done, reported);
        EXPECT_EQ(event.total, 32 * 63);
        reported = event.done;
      });
  EXPECT_EQ(reported, 32 * 63);
  const Matrix<float> logits =
      OutputHead(config, source).logits(pool, forward_all(pool, config, source, sequences));
  double nll = 0, entropy = 0;
  int64_t row = 0;
  for (const auto& sequence : sequences) {
    for (size_t t = 0; t + 1 < sequence.size(); ++t) {
      const auto l = logits.row(row + static_cast<int64_t>(t));
      double sum = 0, weighted = 0;
      for (const float x : l) {
        sum += std::exp(static_cast<double>(x));
        weighted += static_cast<double>(x) * std::exp(static_cast<double>(x));
      }
      nll += std::log(sum) - static_cast<double>(l[static_cast<size_t>(sequence[t + 1])]);
      entropy += std::log(sum) - weighted / sum;
    }
    row += static_cast<int64_t>(sequence.size());
  }
  const double count = 32 * 63;
  EXPECT_NEAR(nll / count, entropy / count, 5 * 2.5 / std::sqrt(count));
  EXPECT_LT(nll / count, 5.5);
}

TEST(Sampling, ImpossibleOptionsAreErrors) {
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");
  const MemorySource source = random_model(config, 1);
  ThreadPool pool(1);
  EXPECT_THROW(sample_sequences(pool, config, source, {.length = 0}), Error);
  EXPECT_THROW(sample_sequences(pool, config, source, {.length = 513}), Error);
  EXPECT_THROW(sample_sequences(pool, config, source, {.temperature = 0}), Error);
  EXPECT_THROW(sample_sequences(pool, config, source, {.first_token = 50}), Error);
  EXPECT_EQ(sample_sequences(pool, config, source, {.count = 2, .length = 1}).size(), 2U);
}

}  // namespace
}  // namespace watersic
