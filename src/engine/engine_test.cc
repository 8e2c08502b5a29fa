#include "engine/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "checkpoint/checkpoint.h"
#include "engine/generation.h"
#include "engine/network.h"
#include "engine/sample_sequences.h"
#include "engine/vector_operators.h"
#include "model/forward.h"
#include "support/error_of.h"
#include "support/reference_model.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr CacheType kTypes[] = {CacheType::kFloat32, CacheType::kFloat16, CacheType::kInt8};
// Relative errors of logits that each cache may add on the tiny models.
double tolerance(CacheType type) {
  return type == CacheType::kFloat32 ? 1e-5 : type == CacheType::kFloat16 ? 1e-2 : 0.2;
}

double distance(std::span<const float> found, std::span<const float> expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(found[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  return std::sqrt(difference / size);
}

class Engines : public ::testing::TestWithParam<std::string> {
 protected:
  // Logits of all tokens of a text, by the forward pass.
  Matrix<float> expected(const std::vector<int32_t>& text) {
    const std::vector<std::vector<int32_t>> windows{text};
    return OutputHead(config_, source_)
        .logits(pool_, forward_all(pool_, config_, source_, windows));
  }
  Sequence sequence(CacheType type, int64_t capacity) const { return {config_, type, capacity}; }

  ThreadPool pool_{2};
  ModelConfig config_ = [] {
    ModelConfig config = parse_config(tiny_config(GetParam()), "config.json");
    config.max_positions = 1024;
    return config;
  }();
  MemorySource source_ = random_model(config_, 1);
  Network network_ = dense_network(pool_, config_, source_);
};
INSTANTIATE_TEST_SUITE_P(Architectures, Engines, ::testing::ValuesIn(tiny_kinds()),
                         [](const auto& test) { return test.param; });

TEST_P(Engines, AgreeWithTheReferenceModel) {
  ReferenceModel reference(config_, source_);
  const std::vector<int32_t> text = random_windows(config_, 1, 30, 3)[0];
  const Rows rows = reference.logits(text);
  for (const bool vectors : {false, true}) {
    network_.use(vectors ? vector_operators() : Operators::reference());
    Engine engine(pool_, network_);
    Sequence all = sequence(CacheType::kFloat32, 30);
    const Matrix<float> logits =
        engine.advance({.sequence = &all, .ids = text, .logits = Step::Logits::kAll});
    ASSERT_EQ(logits.rows(), 30);
    for (int64_t t = 0; t < 30; ++t) {
      const Row& row = rows[static_cast<size_t>(t)];
      const std::vector<float> single(row.begin(), row.end());
      EXPECT_LT(distance(logits.row(t), single), 1e-5) << t;
    }
  }
}

// Whatever is appended at once: a token, more than a tile of queries, more than a pass; with all
// weights held or none.
TEST_P(Engines, PartsOfATextGiveTheLogitsOfTheForwardPass) {
  const std::vector<int32_t> text = random_windows(config_, 1, 700, 2)[0];
  const Matrix<float> all = expected(text);
  const LoadedModel loaded(config_, source_);
  for (const ForwardModel* model : std::initializer_list<const ForwardModel*>{&network_, &loaded}) {
    for (const CacheType type : kTypes) {
      for (const std::vector<size_t>& parts :
           {std::vector<size_t>{700}, {1, 1, 200, 3, 495}, {130, 570}}) {
        Engine engine(pool_, *model);
        Sequence own = sequence(type, 700);
        size_t done = 0;
        for (const size_t count : parts) {
          const Matrix<float> found =
              engine.advance({.sequence = &own, .ids = std::span(text).subspan(done, count)});
          done += count;
          ASSERT_EQ(found.rows(), 1);
          EXPECT_EQ(own.position(), static_cast<int64_t>(done));
          EXPECT_LT(distance(found.row(0), all.row(static_cast<int64_t>(done) - 1)),
                    tolerance(type))
              << "token " << done;
        }
        EXPECT_EQ(own.bytes(), Cache::bytes_for(config_, type, 700));
      }
    }
  }
}

TEST_P(Engines, TokensOneByOneGiveTheLogitsOfTheForwardPass) {
  const std::vector<int32_t> text = random_windows(config_, 1, 150, 5)[0];
  const Matrix<float> all = expected(text);
  network_.use(vector_operators());
  for (const CacheType type : kTypes) {
    Engine engine(pool_, network_);
    Sequence own = sequence(type, 150);
    for (int round = 0; round < 2; ++round) {
      for (size_t t = 0; t < text.size(); ++t) {
        const Matrix<float> found =
            engine.advance({.sequence = &own, .ids = std::span(text).subspan(t, 1)});
        EXPECT_LT(distance(found.row(0), all.row(static_cast<int64_t>(t))), tolerance(type));
      }
      own.rewind(0);
    }
  }
}

// Prompts of several lengths and single tokens of others, in the same calls.
TEST_P(Engines, SequencesTogetherGiveWhatEachGivesAlone) {
  const std::vector<size_t> lengths = {1, 600, 37, 5, 129, 2};
  std::vector<std::vector<int32_t>> texts;
  for (const size_t length : lengths)
    texts.push_back(random_windows(config_, 1, static_cast<int>(length) + 3, length)[0]);
  for (const CacheType type : kTypes) {
    Engine engine(pool_, network_);
    std::vector<Sequence> together, alone;
    for (size_t i = 0; i < texts.size(); ++i) {
      together.push_back(sequence(type, 700));
      alone.push_back(sequence(type, 700));
    }
    // Sequence i begins at call i.
    std::vector<size_t> done(texts.size());
    for (size_t call = 0; call < texts.size() + 3; ++call) {
      std::vector<Step> steps;
      std::vector<Matrix<float>> single;
      for (size_t i = 0; i <= call && i < texts.size(); ++i) {
        const size_t count = done[i] == 0 ? lengths[i] : 1;
        if (done[i] + count > texts[i].size()) continue;
        const auto ids = std::span(texts[i]).subspan(done[i], count);
        steps.push_back({.sequence = &together[i], .ids = ids});
        single.push_back(engine.advance({.sequence = &alone[i], .ids = ids}));
        done[i] += count;
      }
      const Matrix<float> logits = engine.advance(steps);
      ASSERT_EQ(logits.rows(), static_cast<int64_t>(steps.size()));
      for (size_t i = 0; i < steps.size(); ++i)
        EXPECT_LT(distance(logits.row(static_cast<int64_t>(i)), single[i].row(0)),
                  type == CacheType::kInt8 ? 1e-3 : 1e-4)
            << "call " << call << ", sequence " << i;
    }
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(together[i].position(), done[i]);
  }
}

TEST_P(Engines, ThreadsDoNotMatter) {
  const std::vector<int32_t> text = random_windows(config_, 1, 300, 4)[0];
  network_.use(vector_operators());
  for (const CacheType type : kTypes) {
    std::vector<Matrix<float>> found;
    for (const int threads : {1, 2, 7}) {
      ThreadPool pool(threads);
      Engine engine(pool, network_);
      Sequence a = sequence(type, 300), b = sequence(type, 300);
      const std::vector<Step> prompts = {{.sequence = &a, .ids = std::span(text).first(299)},
                                         {.sequence = &b, .ids = std::span(text).first(40)}};
      found.push_back(engine.advance(prompts));
      const std::vector<Step> next = {{.sequence = &a, .ids = std::span(text).last(1)},
                                      {.sequence = &b, .ids = std::span(text).last(1)}};
      found.push_back(engine.advance(next));
    }
    for (size_t i = 2; i < found.size(); ++i)
      EXPECT_TRUE(std::ranges::equal(found[i].values(), found[i % 2].values()));
  }
}

TEST_P(Engines, LogitsComeOfTheTokensThatAreAskedFor) {
  const std::vector<int32_t> text = random_windows(config_, 1, 20, 6)[0];
  Engine engine(pool_, network_);
  Sequence a = sequence(CacheType::kFloat32, 20), b = sequence(CacheType::kFloat32, 20),
           c = sequence(CacheType::kFloat32, 20), d = sequence(CacheType::kFloat32, 20);
  const std::vector<Step> steps = {{.sequence = &a, .ids = text, .logits = Step::Logits::kNone},
                                   {.sequence = &b, .ids = text, .logits = Step::Logits::kAll},
                                   {.sequence = &c, .ids = {}},
                                   {.sequence = &d, .ids = text}};
  const Matrix<float> logits = engine.advance(steps);
  ASSERT_EQ(logits.rows(), 21);
  EXPECT_LT(distance(logits.row(20), logits.row(19)), 1e-5);
  EXPECT_EQ(a.position(), 20);
  EXPECT_EQ(c.position(), 0);
  EXPECT_EQ(c.bytes(), 0);
  EXPECT_TRUE(engine.advance({.sequence = &c, .ids = {}}).empty());
}

TEST_P(Engines, AnErrorLeavesTheSequencesAsTheyWere) {
  const std::vector<int32_t> text = random_windows(config_, 1, 20, 7)[0];
  Engine engine(pool_, network_);
  Sequence a = sequence(CacheType::kFloat16, 30), b = sequence(CacheType::kFloat16, 15);
  const auto both = [&](std::span<const int32_t> first, std::span<const int32_t> second) {
    return error_of([&] {
      const std::vector<Step> steps = {{.sequence = &a, .ids = first},
                                       {.sequence = &b, .ids = second}};
      engine.advance(steps);
    });
  };
  EXPECT_EQ(both(text, std::span(text).first(10)), "");
  const std::string full = both(std::span(text).first(1), std::span(text).first(6));
  EXPECT_NE(full.find("at most 15 tokens"), std::string::npos) << full;
  EXPECT_NE(full.find("found 16"), std::string::npos) << full;
  EXPECT_NE(both({{-1}}, {{0}}).find("found -1"), std::string::npos);
  EXPECT_NE(both({{0}}, {{50}}).find("vocabulary's 50"), std::string::npos);
  EXPECT_EQ(a.position(), 20);
  EXPECT_EQ(b.position(), 10);

  MemorySource spoilt = source_;
  const std::string name = block_tensor(2, "self_attn.v_proj.weight");
  Matrix<float> values = spoilt.matrix(name);
  for (float& value : values.values()) value *= std::numeric_limits<float>::infinity();
  spoilt.set(name, std::move(values));
  const Network broken = dense_network(pool_, config_, spoilt);
  Engine wrong(pool_, broken);
  const std::string error =
      error_of([&] { wrong.advance({.sequence = &a, .ids = std::span(text).first(2)}); });
  EXPECT_NE(error.find("block 2: input of o"), std::string::npos) << error;
  EXPECT_EQ(a.position(), 20);
}

TEST_P(Engines, MemoryGrowsWithTheSequence) {
  const std::vector<int32_t> text = random_windows(config_, 1, 300, 8)[0];
  Engine engine(pool_, network_);
  int64_t half = 0;
  for (const CacheType type : {CacheType::kFloat16, CacheType::kInt8}) {
    Sequence own = sequence(type, 1'000'000'000);
    EXPECT_EQ(own.bytes(), 0);
    engine.advance({.sequence = &own, .ids = std::span(text).first(1)});
    const int64_t page = own.bytes();
    EXPECT_GT(page, 0);
    engine.advance({.sequence = &own, .ids = std::span(text).subspan(1, 127)});
    EXPECT_EQ(own.bytes(), page);
    engine.advance({.sequence = &own, .ids = std::span(text).subspan(128)});
    EXPECT_EQ(own.bytes(), 3 * page);
    EXPECT_EQ(Cache::bytes_for(config_, type, 300), 3 * page);
    if (type == CacheType::kFloat16)
      half = page;
    else
      EXPECT_LT(page, half);
  }
}

TEST_P(Engines, AGenerationEndsWhereItShould) {
  Engine engine(pool_, network_);
  const std::vector<int32_t> prompt = {1, 5, 7};
  const auto run = [&](const GenerationOptions& options, int most) {
    Sequence own = sequence(CacheType::kFloat16, 40);
    Rng rng(3);
    int seen = 0;
    return generate_tokens(engine, own, prompt, options, rng,
                           [&](int32_t) { return ++seen < most; });
  };
  const Generation all = run({.tokens = 30}, 100);
  EXPECT_EQ(all.ids.size(), 30U);
  EXPECT_FALSE(all.ended);
  EXPECT_EQ(run({.tokens = 30}, 4).ids, std::vector(all.ids.begin(), all.ids.begin() + 4));
  const auto first = std::ranges::find(all.ids, all.ids[10]);
  const Generation ended = run({.ends = {all.ids[10]}, .tokens = 30}, 100);
  EXPECT_TRUE(ended.ended);
  EXPECT_EQ(ended.ids, std::vector(all.ids.begin(), first));
  EXPECT_TRUE(run({.tokens = 0}, 100).ids.empty());
}

// What narrow caches cost on the bundled model, on text of its own: the mean KL of the next token's
// distribution, in nats, from the float32 cache's.
TEST(Caches, CostLittleOnTheBundledModel) {
  const std::string dir = WATERSIC_SOURCE_DIR "/models/books-llama";
  const ModelConfig config = load_config(dir);
  const CheckpointSource source(dir);
  ThreadPool pool(2);
  const auto texts = sample_sequences(
      pool, config, source,
      {.count = 24, .length = 64, .first_token = config.first_token().value_or(0), .seed = 4});
  const Network network = dense_network(pool, config, source);
  Engine engine(pool, network);
  const auto log_probabilities = [&](CacheType type) {
    std::vector<Sequence> sequences;
    std::vector<Step> steps;
    for (size_t i = 0; i < texts.size(); ++i) sequences.emplace_back(config, type, 64);
    for (size_t i = 0; i < texts.size(); ++i)
      steps.push_back({.sequence = &sequences[i], .ids = texts[i], .logits = Step::Logits::kAll});
    const Matrix<float> logits = engine.advance(steps);
    Matrix<double> out(logits.rows(), logits.cols());
    for (int64_t i = 0; i < out.rows(); ++i) {
      double sum = 0;
      for (const float x : logits.row(i)) sum += std::exp(static_cast<double>(x));
      for (int64_t v = 0; v < out.cols(); ++v) out(i, v) = logits(i, v) - std::log(sum);
    }
    return out;
  };
  const Matrix<double> exact = log_probabilities(CacheType::kFloat32);
  for (const auto& [type, most] :
       {std::pair{CacheType::kFloat16, 2e-7}, std::pair{CacheType::kInt8, 1e-3}}) {
    const Matrix<double> found = log_probabilities(type);
    double kl = 0, nll = 0, exact_nll = 0;
    int64_t scored = 0;
    for (int64_t i = 0; i < exact.rows(); ++i) {
      for (int64_t v = 0; v < exact.cols(); ++v)
        kl += std::exp(exact(i, v)) * (exact(i, v) - found(i, v));
      const auto& text = texts[static_cast<size_t>(i / 64)];
      if (i % 64 == 63) continue;
      const int32_t next = text[static_cast<size_t>(i % 64) + 1];
      nll -= found(i, next);
      exact_nll -= exact(i, next);
      ++scored;
    }
    kl /= static_cast<double>(exact.rows());
    RecordProperty(type == CacheType::kInt8 ? "kl_int8" : "kl_float16", std::to_string(1e6 * kl));
    EXPECT_GT(kl, 0);
    EXPECT_LT(kl, most);
    EXPECT_NEAR(nll / static_cast<double>(scored), exact_nll / static_cast<double>(scored),
                std::sqrt(most));
  }
}

}  // namespace
}  // namespace watersic
