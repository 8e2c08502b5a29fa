#include "engine/sample_sequences.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "checkpoint/checkpoint.h"
#include "engine/streamed_layer.h"
#include "model/forward.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class SampleSequences : public ::testing::TestWithParam<std::string> {
 protected:
  ModelConfig config_ = parse_config(tiny_config(GetParam()), "config.json");
  MemorySource source_ = random_model(config_, 1);
};
INSTANTIATE_TEST_SUITE_P(Architectures, SampleSequences, ::testing::ValuesIn(tiny_kinds()),
                         [](const auto& test) { return test.param; });

TEST_P(SampleSequences, ASequenceDependsOnItsSeedAndIndexOnly) {
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

TEST(StreamedLayers, HoldNoMoreThanTheyMay) {
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");
  const MemorySource source = random_model(config, 1);
  const int64_t all = dense_network(config, source).weight_bytes();
  const int64_t ends = 2 * config.vocabulary * config.hidden * 4;
  const Network none = network_within(config, source, 0);
  const Network one = network_within(config, source, (all - ends) / config.blocks + 100);
  const Network held = network_within(config, source, all);
  EXPECT_LT(none.weight_bytes(), ends);  // the head and the norms
  EXPECT_LT(none.weight_bytes(), one.weight_bytes());
  EXPECT_LT(one.weight_bytes(), none.weight_bytes() + all / 2);
  EXPECT_EQ(held.weight_bytes(), all - ends / 2);  // the embedding is looked up
  ThreadPool pool(2);
  const LinearLayer& streamed = none.blocks[1].layer(kQuery);
  const LinearLayer& dense = held.blocks[1].layer(kQuery);
  Matrix<float> X(3, config.hidden), found(3, dense.outputs()), expected(3, dense.outputs());
  for (int64_t i = 0; i < X.size(); ++i) X.values()[static_cast<size_t>(i)] = 0.01F * i;
  streamed.apply(pool, 3, X, 0, found);
  dense.apply(pool, 3, X, 0, expected);
  EXPECT_TRUE(std::ranges::equal(found.values(), expected.values()));
  const std::vector<int32_t> ids = {0, 7, 7};
  EXPECT_TRUE(
      std::ranges::equal(streamed.rows(pool, ids).values(), dense.rows(pool, ids).values()));
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
