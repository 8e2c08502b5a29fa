#include "engine/sample_sequences.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "checkpoint/checkpoint.h"
#include "engine/partly_held.h"
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

TEST(PartlyHeld, HoldsNoMoreThanItMay) {
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");
  const MemorySource source = random_model(config, 1);
  ThreadPool pool(2);
  const int64_t each = load_block(pool, config, source, 0).bytes();
  for (const auto& [bytes, held] : {std::pair{int64_t{0}, 0}, {each + 1, 1}, {3 * each, 3}}) {
    const PartlyHeld model(pool, config, source, bytes);
    for (int64_t index = 0; index < config.blocks; ++index) {
      const auto once = model.block(pool, index), again = model.block(pool, index);
      EXPECT_EQ(once == again, index < held) << index;
      EXPECT_EQ(once->block, index);
    }
  }
}

// The average log-probability of sampled tokens is minus the entropy of what they were sampled
// from: a wrong cache or a wrong sampler would show.
TEST(Sampling, TheBundledModelFindsItsOwnTextLikely) {
  const std::string dir = WATERSIC_SOURCE_DIR "/models/books-llama";
  const ModelConfig config = load_config(dir);
  const CheckpointSource source(dir);
  ThreadPool pool(2);
  int64_t reported = 0;
  const Context context(pool, [&](const ProgressEvent& event) {
    EXPECT_GT(event.done, reported);
    EXPECT_EQ(event.total, 32 * 63);
    reported = event.done;
  });
  const auto sequences = sample_sequences(
      context, config, source,
      {.count = 32, .length = 64, .first_token = config.first_token().value_or(0), .seed = 1});
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
