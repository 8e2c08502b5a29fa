#include "eval/token_tree.h"

#include <gtest/gtest.h>

#include "eval/score.h"
#include "model/forward.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

using Ids = std::vector<int32_t>;

std::vector<int64_t> rows_of(TokenTree& tree, const Ids& tokens) {
  const auto rows = tree.add(tokens);
  return {rows.begin(), rows.end()};
}

TEST(TokenTree, SharesBeginnings) {
  TokenTree tree;
  EXPECT_EQ(rows_of(tree, {5, 6, 7, 8}), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(tree.new_rows(Ids{5, 6, 9}), 1);
  EXPECT_EQ(rows_of(tree, {5, 6, 9}), (std::vector<int64_t>{0, 1, 4}));
  EXPECT_EQ(rows_of(tree, {5, 6, 9}), (std::vector<int64_t>{0, 1, 4}));
  EXPECT_EQ(rows_of(tree, {5, 6, 9, 7, 8}), (std::vector<int64_t>{0, 1, 4, 5, 6}));
  EXPECT_EQ(rows_of(tree, {5, 6}), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(rows_of(tree, {6, 5}), (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(tree.rows(), 9);
  EXPECT_EQ(tree.ids(), (Ids{5, 6, 7, 8, 9, 7, 8, 6, 5}));
  EXPECT_EQ(tree.positions(), (std::vector<int64_t>{0, 1, 2, 3, 2, 3, 4, 0, 1}));
  ASSERT_EQ(tree.segments().size(), 3U);
  const auto& branch = tree.segments()[1];
  EXPECT_EQ(branch.begin, 4);
  EXPECT_EQ(branch.count, 3);
  EXPECT_EQ(branch.parent, 1);
  const auto before = tree.before(branch);
  ASSERT_EQ(before.size(), 1U);
  EXPECT_EQ(before[0].begin, 0);
  EXPECT_EQ(before[0].count, 2);
  EXPECT_TRUE(tree.before(tree.segments()[2]).empty());
}

TEST(TokenTree, BranchesOfBranches) {
  TokenTree tree;
  tree.add(Ids{1, 2, 3, 4});
  tree.add(Ids{1, 2, 5, 6});
  tree.add(Ids{1, 2, 5, 7});
  const auto before = tree.before(tree.segments().back());
  ASSERT_EQ(before.size(), 2U);
  EXPECT_EQ(before[0].begin, 0);
  EXPECT_EQ(before[0].count, 2);
  EXPECT_EQ(before[1].begin, 4);
  EXPECT_EQ(before[1].count, 1);
}

// Sequences that share what sequences of questions share, some of them longer than a query tile.
std::vector<ScoredSequence> branching_sequences(const ModelConfig& config) {
  const auto random = random_windows(config, 12, 200, 5);
  const auto joined = [](std::initializer_list<std::span<const int32_t>> parts) {
    Ids ids;
    for (const auto part : parts) ids.insert(ids.end(), part.begin(), part.end());
    return ids;
  };
  const auto part = [&](size_t of, size_t count) { return std::span(random[of]).first(count); };
  std::vector<ScoredSequence> sequences;
  for (size_t q = 0; q < 3; ++q) {
    for (size_t c = 0; c < 3; ++c) {
      const Ids prompt = joined({part(0, 150), part(1 + q, q == 1 ? 140 : 20)});
      sequences.push_back({joined({prompt, part(4 + 2 * q + c, 3 + 2 * c)}), prompt.size() - c});
    }
  }
  sequences.push_back({joined({part(11, 2)}), 1});
  sequences.push_back(sequences.back());
  return sequences;
}

TEST(Scores, AreThoseOfEachSequenceAlone) {
  ThreadPool pool(2), single(1);
  for (const char* kind : {"llama", "mistral", "qwen2", "qwen3"}) {
    const ModelConfig config = parse_config(tiny_config(kind), "config.json");
    const MemorySource source = random_model(config, 1);
    const LoadedModel model(config, source);
    const auto sequences = branching_sequences(config);
    const auto scores = score_sequences(pool, model, sequences);
    ASSERT_EQ(scores.size(), sequences.size());
    const OutputHead head(config, source);
    for (size_t s = 0; s < sequences.size(); ++s) {
      const auto& [tokens, first] = sequences[s];
      const Matrix<float> logits =
          head.logits(pool, forward_all(pool, config, source, std::vector<Ids>{tokens}));
      ASSERT_EQ(scores[s].size(), tokens.size() - first);
      for (size_t t = first; t < tokens.size(); ++t) {
        const auto row = logits.row(static_cast<int64_t>(t) - 1);
        const double expected =
            static_cast<double>(row[static_cast<size_t>(tokens[t])]) - log_sum_exp(row);
        const ScoredToken& score = scores[s][t - first];
        EXPECT_NEAR(score.log_probability, expected, 2e-4) << kind << " " << s << " " << t;
        EXPECT_EQ(score.likeliest,
                  std::ranges::max_element(row) - row.begin() == std::ptrdiff_t{tokens[t]});
      }
    }
    // The threads change nothing; the size of a tree rounding only.
    EXPECT_EQ(scores, score_sequences(single, model, sequences));
    for (const int64_t rows : {1, 200, 400}) {
      const auto parts = score_sequences(pool, model, sequences, rows * config.hidden);
      for (size_t s = 0; s < sequences.size(); ++s)
        for (size_t t = 0; t < scores[s].size(); ++t)
          EXPECT_NEAR(parts[s][t].log_probability, scores[s][t].log_probability, 2e-4) << rows;
    }
    EXPECT_EQ(scores[9], scores[10]);
  }
}

TEST(Scores, TellHowManyTokensAreComputed) {
  const ModelConfig config = parse_config(tiny_config("qwen2"), "config.json");
  const MemorySource source = random_model(config, 1);
  ThreadPool pool(1);
  const std::vector<ScoredSequence> sequences{
      {{3, 4, 5, 6}, 2}, {{3, 4, 5, 7}, 3}, {{3, 4, 6, 6, 6}, 2}};
  const auto total = [&](int64_t rows) {
    ProgressEvent last;
    const Context context(pool, [&](const ProgressEvent& event) { last = event; });
    score_sequences(context, LoadedModel(config, source), sequences, rows * config.hidden);
    EXPECT_EQ(last.done, last.total);
    return last.total;
  };
  EXPECT_EQ(total(100), 3 + 0 + 2);  // last tokens are asked for, not computed
  EXPECT_EQ(total(4), 3 + 0 + 4);
  EXPECT_EQ(total(1), 3 + 4);  // the second is all in the first
}

TEST(Scores, OfTokensThatTheModelDoesNotKnow) {
  const ModelConfig config = parse_config(tiny_config("qwen2"), "config.json");
  const MemorySource source = random_model(config, 1);
  ThreadPool pool(1);
  for (const Ids& ids : {Ids{3, 50}, Ids{50, 3}, Ids{3, -1}}) {
    EXPECT_THROW(
        score_sequences(pool, LoadedModel(config, source), std::vector<ScoredSequence>{{ids, 1}}),
        Error);
  }
}

}  // namespace
}  // namespace watersic
