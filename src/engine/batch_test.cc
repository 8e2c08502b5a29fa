#include "engine/batch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "engine/network.h"
#include "engine/vector_operators.h"
#include "support/tiny_models.h"

namespace watersic {
namespace {

// Each token by itself, as packed layers do it.
class RowByRow final : public LinearLayer {
 public:
  RowByRow(Matrix<float> W, std::vector<float> b) : dense_(std::move(W), std::move(b)) {}
  int64_t outputs() const override { return dense_.outputs(); }
  int64_t inputs() const override { return dense_.inputs(); }
  int64_t bytes() const override { return dense_.bytes(); }
  int64_t independent_tokens() const override { return kAnyNumber; }
  void apply(ThreadPool& pool, int64_t /*length*/, MatrixView<const float> X, float beta,
             MatrixView<float> Y) const override {
    for (int64_t i = 0; i < X.rows(); ++i)
      dense_.apply(pool, 1, X.block(i, 0, 1, X.cols()), beta, Y.block(i, 0, 1, Y.cols()));
  }
  Matrix<float> rows(ThreadPool& pool, std::span<const int32_t> ids) const override {
    return dense_.rows(pool, ids);
  }

 private:
  DenseLayer dense_;
};

struct Scribe final : Writer {
  Wish wish() override { return wanted; }
  bool take(const WrittenToken& token) override {
    tokens.push_back(token);
    return static_cast<int64_t>(tokens.size()) < most;
  }
  void end(TextEnd how, const std::string& message) override {
    EXPECT_FALSE(over);
    over = true;
    ending = how;
    error = message;
  }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> out;
    for (const WrittenToken& token : tokens) out.push_back(token.id);
    return out;
  }

  Wish wanted = Wish::kGoOn;
  int64_t most = 1'000'000;
  std::vector<WrittenToken> tokens;
  bool over = false;
  TextEnd ending = TextEnd::kFull;
  std::string error;
};

class Batches : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    network_ = make(source_);
    network_.use(vector_operators());
  }
  // Layers whose tokens are independent, but for "dense".
  Network make(const MemorySource& source) {
    return make_network(pool_, config_, source,
                        [&](const std::string& weight,
                            const std::string& bias) -> std::shared_ptr<const LinearLayer> {
                          auto b = bias.empty() ? std::vector<float>() : source.vector(bias);
                          if (dense_) return std::make_shared<DenseLayer>(source.matrix(weight), b);
                          return std::make_shared<RowByRow>(source.matrix(weight), b);
                        });
  }
  TextOrder order(size_t length, uint64_t seed, int64_t tokens) const {
    return {.prompt = random_windows(config_, 1, static_cast<int>(length), seed)[0],
            .options = {.sampler = {.temperature = 1.5, .top_p = 0.95}, .tokens = tokens},
            .seed = seed};
  }
  std::vector<int32_t> alone(const TextOrder& order, CacheType cache) {
    Engine engine(pool_, network_);
    Sequence sequence(config_, cache, 900);
    Rng rng(order.seed);
    return generate_tokens(engine, sequence, order.prompt, order.options, rng,
                           [](int32_t) { return true; })
        .ids;
  }

  bool dense_ = GetParam() == "dense";
  ThreadPool pool_{2};
  ModelConfig config_ = [] {
    ModelConfig config =
        parse_config(tiny_config(GetParam() == "dense" ? "llama" : GetParam()), "config.json");
    config.max_positions = 1024;
    return config;
  }();
  MemorySource source_ = random_model(config_, 1);
  Network network_;
};
INSTANTIATE_TEST_SUITE_P(Models, Batches, ::testing::Values("llama", "mistral", "qwen3", "dense"),
                         [](const auto& test) { return test.param; });

// Prompts of all lengths that join while others write.
TEST_P(Batches, EachTextIsThatOfALoneRun) {
  const std::vector<size_t> lengths = {1, 700, 33, 5, 257, 64, 129, 300};
  for (const CacheType cache : {CacheType::kFloat16, CacheType::kFloat32, CacheType::kInt8}) {
    Engine engine(pool_, network_);
    Batch batch(pool_, engine, network_, cache);
    std::vector<std::shared_ptr<Scribe>> scribes;
    std::vector<TextOrder> orders;
    for (size_t i = 0; i < lengths.size(); ++i) orders.push_back(order(lengths[i], i, 25));
    int64_t most = 0;
    bool busy = true;
    for (size_t call = 0; busy || scribes.size() < orders.size(); ++call) {
      if (call % 3 == 0 && scribes.size() < orders.size()) {
        scribes.push_back(std::make_shared<Scribe>());
        batch.add(orders[scribes.size() - 1], scribes.back());
      }
      busy = batch.step();
      most = std::max(most, batch.size());
      ASSERT_LT(call, 500U);
    }
    EXPECT_GT(most, 4);
    EXPECT_EQ(batch.size(), 0);
    EXPECT_EQ(batch.cache_bytes(), 0);
    EXPECT_EQ(batch.written_tokens(), 25 * 8);
    EXPECT_EQ(batch.prompt_tokens(), std::accumulate(lengths.begin(), lengths.end(), 0));
    for (size_t i = 0; i < orders.size(); ++i) {
      EXPECT_EQ(scribes[i]->ids(), alone(orders[i], cache)) << i;
      EXPECT_TRUE(scribes[i]->over);
      EXPECT_EQ(scribes[i]->ending, TextEnd::kFull);
    }
  }
}

TEST_P(Batches, ALongPromptLetsOthersWrite) {
  if (dense_) GTEST_SKIP() << "its prompts are read by whole passes";
  Engine engine(pool_, network_);
  Batch batch(pool_, engine, network_, CacheType::kFloat16);
  const auto writing = std::make_shared<Scribe>(), longer = std::make_shared<Scribe>(),
             shorter = std::make_shared<Scribe>();
  batch.add(order(3, 1, 200), writing);
  while (writing->tokens.empty()) batch.step();
  batch.add(order(700, 2, 5), longer);
  batch.add(order(60, 3, 5), shorter);
  const size_t before = writing->tokens.size();
  while (longer->tokens.empty()) batch.step();
  EXPECT_GE(writing->tokens.size() - before, 700U / 64);
  EXPECT_TRUE(shorter->over);
}

TEST_P(Batches, TextsEndWhereTheyShould) {
  Engine engine(pool_, network_);
  Batch batch(pool_, engine, network_, CacheType::kFloat16);
  const TextOrder all = order(10, 1, 30);
  const std::vector<int32_t> ids = alone(all, CacheType::kFloat16);
  TextOrder ending = all;
  ending.options.ends = {ids[7]};
  const auto ended = std::make_shared<Scribe>(), stopped = std::make_shared<Scribe>(),
             gone = std::make_shared<Scribe>(), waiting = std::make_shared<Scribe>();
  stopped->most = 4;
  batch.add(ending, ended);
  batch.add(all, stopped);
  batch.add(all, gone);
  batch.add(all, waiting);
  while (waiting->tokens.empty()) batch.step();
  const size_t written = gone->tokens.size();
  gone->wanted = Writer::Wish::kStop;
  waiting->wanted = Writer::Wish::kWait;
  while (batch.step()) {
  }
  EXPECT_EQ(ended->ending, TextEnd::kEnded);
  EXPECT_EQ(ended->ids(), std::vector(ids.begin(), std::ranges::find(ids, ids[7])));
  EXPECT_EQ(stopped->ending, TextEnd::kStopped);
  EXPECT_EQ(stopped->ids(), std::vector(ids.begin(), ids.begin() + 4));
  EXPECT_EQ(gone->ending, TextEnd::kStopped);
  EXPECT_EQ(gone->tokens.size(), written);
  EXPECT_FALSE(waiting->over);
  EXPECT_EQ(batch.size(), 1);
  waiting->wanted = Writer::Wish::kGoOn;
  while (batch.step()) {
  }
  EXPECT_EQ(waiting->ids(), ids);
}

TEST_P(Batches, AnErrorIsItsTextsAlone) {
  Engine engine(pool_, network_);
  Batch batch(pool_, engine, network_, CacheType::kFloat16);
  const auto good = std::make_shared<Scribe>(), bad = std::make_shared<Scribe>();
  TextOrder wrong = order(10, 2, 5);
  wrong.prompt[3] = 50;
  batch.add(order(10, 1, 5), good);
  batch.add(wrong, bad);
  while (batch.step()) {
  }
  EXPECT_EQ(bad->ending, TextEnd::kFailed);
  EXPECT_NE(bad->error.find("vocabulary's 50"), std::string::npos) << bad->error;
  EXPECT_EQ(good->ids(), alone(order(10, 1, 5), CacheType::kFloat16));
}

TEST_P(Batches, LikelihoodsAreThoseOfTheModel) {
  Engine engine(pool_, network_);
  Batch batch(pool_, engine, network_, CacheType::kFloat32);
  TextOrder asked = order(10, 1, 3);
  asked.options.sampler = {.temperature = 0};
  asked.likeliest = 4;
  const auto scribe = std::make_shared<Scribe>();
  batch.add(asked, scribe);
  while (batch.step()) {
  }
  Sequence sequence(config_, CacheType::kFloat32, 10);
  const Matrix<float> logits = engine.advance({.sequence = &sequence, .ids = asked.prompt});
  double sum = 0;
  for (const float x : logits.row(0)) sum += std::exp(static_cast<double>(x));
  const Likelihoods& found = scribe->tokens[0].likelihoods;
  ASSERT_EQ(found.likeliest.size(), 4U);
  EXPECT_EQ(found.likeliest[0].id, scribe->tokens[0].id);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(found.likeliest[i].log_probability,
                logits(0, found.likeliest[i].id) - std::log(sum), 1e-6);
    EXPECT_LE(found.likeliest[i].log_probability, found.likeliest[0].log_probability);
  }
  EXPECT_EQ(found.log_probability, found.likeliest[0].log_probability);
}

}  // namespace
}  // namespace watersic
