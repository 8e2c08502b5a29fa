#include "eval/score.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/rng.h"
#include "model/forward.h"
#include "support/small_checkpoint.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::vector<double> softmax(std::span<const float> logits) {
  std::vector<double> p;
  double sum = 0;
  for (const float x : logits) sum += p.emplace_back(std::exp(static_cast<double>(x)));
  for (double& x : p) x /= sum;
  return p;
}

std::vector<float> random_logits(uint64_t seed) {
  Rng rng(seed);
  std::vector<float> logits(100);
  for (float& x : logits) x = static_cast<float>(3 * rng.normal());
  return logits;
}

TEST(LogSumExp, IsExactWhereExpOverflows) {
  EXPECT_NEAR(log_sum_exp(std::vector<float>{0, 0, 0}), std::log(3.0), 1e-15);
  EXPECT_NEAR(log_sum_exp(std::vector<float>{1000, 1001}), 1001 + std::log1p(std::exp(-1.0)),
              1e-12);
  EXPECT_NEAR(log_sum_exp(std::vector<float>{-1000, -1001}), -1000 + std::log1p(std::exp(-1.0)),
              1e-12);
  EXPECT_EQ(log_sum_exp(std::vector<float>{3e38F, -3e38F}), static_cast<double>(3e38F));
}

TEST(ScoreToken, AgreesWithTheDefinitions) {
  const std::vector<float> q_logits = random_logits(1), p_logits = random_logits(2);
  const std::vector<double> q = softmax(q_logits), p = softmax(p_logits);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) kl += p[i] * std::log(p[i] / q[i]);
  const TokenScore score = score_token(q_logits, p_logits, 17);
  EXPECT_NEAR(score.nll, -std::log(q[17]), 1e-12);
  EXPECT_NEAR(score.reference_nll, -std::log(p[17]), 1e-12);
  EXPECT_NEAR(score.kl, kl, 1e-12);
  EXPECT_FALSE(score.same_top);
}

TEST(ScoreToken, AModelDoesNotDivergeFromItself) {
  std::vector<float> logits = random_logits(3);
  const TokenScore score = score_token(logits, logits, 5);
  EXPECT_EQ(score.kl, 0);
  EXPECT_EQ(score.nll, score.reference_nll);
  EXPECT_TRUE(score.same_top);
  // Nor from itself with all logits moved by a constant.
  std::vector<float> moved = logits;
  for (float& x : moved) x += 4096;
  EXPECT_NEAR(score_token(moved, logits, 5).kl, 0, 1e-6);
}

TEST(ScoreToken, OfEqualLogitsTheFirstIsMostLikely) {
  const std::vector<float> first{2, 2, 1}, second{1, 2, 2};
  EXPECT_FALSE(score_token(first, second, 0).same_top);
  EXPECT_TRUE(score_token(first, first, 0).same_top);
}

// Windows long enough that their logits come in more than one piece.
TEST(ScoreWindows, AgreesWithOneTokenAtATime) {
  const ModelConfig config = parse_config(tiny_config("qwen3"), "config.json");
  const MemorySource source = random_model(config, 1), other_source = random_model(config, 2);
  const LoadedModel loaded(config, source), loaded_other(config, other_source);
  const ScoredModel model{&loaded}, reference{&loaded_other};
  constexpr int kLength = 300;
  ScoredWindows windows{.ids = random_windows(config, 3, kLength, 3), .length = kLength};
  ThreadPool pool(2), single(1);
  const Matrix<float> hidden = forward_all(pool, config, source, windows.ids),
                      other_hidden = forward_all(pool, config, other_source, windows.ids);
  const OutputHead head(config, source), other_head(config, other_source);
  const Matrix<float> logits = head.logits(single, hidden),
                      other = other_head.logits(single, other_hidden);

  for (const int64_t first : {0, kLength / 2}) {
    windows.first = first;
    const auto scores = score_windows(pool, windows, model, &reference);
    ASSERT_EQ(static_cast<int64_t>(scores.size()), windows.scored());
    size_t at = 0;
    for (size_t w = 0; w < 3; ++w) {
      for (int64_t i = first; i + 1 < kLength; ++i, ++at) {
        const int64_t row = static_cast<int64_t>(w) * kLength + i;
        const TokenScore expected = score_token(logits.row(row), other.row(row),
                                                windows.ids[w][static_cast<size_t>(i) + 1]);
        EXPECT_NEAR(scores[at].nll, expected.nll, 1e-4);
        EXPECT_NEAR(scores[at].reference_nll, expected.reference_nll, 1e-4);
        EXPECT_NEAR(scores[at].kl, expected.kl, 1e-4);
      }
    }
    // Neither the threads nor how many windows are in memory change a bit; one or two here.
    const auto serial = score_windows(single, windows, model, &reference, 1),
               pairs = score_windows(pool, windows, model, &reference, 2 * kLength * config.hidden);
    for (size_t i = 0; i < scores.size(); ++i) {
      EXPECT_EQ(scores[i].kl, serial[i].kl);
      EXPECT_EQ(scores[i].kl, pairs[i].kl);
    }
    const auto alone = score_windows(pool, windows, model, nullptr);
    for (size_t i = 0; i < scores.size(); ++i) EXPECT_EQ(scores[i].nll, alone[i].nll);
  }
}

TEST(ScoreWindows, StoredStatesGiveTheSameScores) {
  const TestFolder folder("states");
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");
  const MemorySource source = random_model(config, 1), other_source = random_model(config, 2);
  const LoadedModel loaded(config, source);
  const ScoredModel model{&loaded};
  const ScoredWindows windows{.ids = random_windows(config, 3, 20, 3), .length = 20};
  ThreadPool pool(1);
  const LoadedModel other(config, other_source);
  const ScoredModel plain{&other};
  const auto expected = score_windows(pool, windows, model, &plain);
  const auto states = [&](const std::string& identity, int64_t rows = 60) {
    return StateFile(folder / "states", identity, rows, config.hidden);
  };
  for (const bool there : {false, true}) {
    StateFile file = states("abc");
    EXPECT_EQ(file.complete(), there);
    MemorySource head;  // all that is read once the states are there
    for (const char* name : {kFinalNorm, kHead}) head.set(name, other_source.matrix(name));
    const LoadedModel stored(config, head);
    const ScoredModel reference{there ? &stored : &other, &file};
    int64_t steps = 0;
    const Context context(pool, [&](const ProgressEvent& event) { steps = event.total; });
    const auto scores = score_windows(context, windows, model, &reference, 1);
    EXPECT_EQ(steps, 3 * (1 + (there ? 1 : 2) * config.blocks));
    ASSERT_EQ(scores.size(), expected.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      EXPECT_EQ(scores[i].kl, expected[i].kl);
      EXPECT_EQ(scores[i].reference_nll, expected[i].reference_nll);
    }
  }
  EXPECT_THROW(states("abd"), Error);
  EXPECT_THROW(states("abc", 59), Error);
}

TEST(ScoreWindows, TellsOfEachBlock) {
  const ModelConfig config = parse_config(tiny_config("llama"), "config.json");
  const MemorySource source = random_model(config, 1);
  const LoadedModel loaded(config, source);
  const ScoredModel model{&loaded};
  const ScoredWindows windows{.ids = random_windows(config, 3, 8, 3), .length = 8};
  ThreadPool pool(1);
  int64_t done = 0, total = 0;
  const Context context(pool, [&](const ProgressEvent& event) {
    EXPECT_EQ(event.done, ++done);
    total = event.total;
  });
  score_windows(context, windows, model, &model, 1);
  EXPECT_EQ(done, total);
  EXPECT_EQ(total, 3 * (1 + 2 * config.blocks));
}

}  // namespace
}  // namespace watersic
