// evaluate() on files, against the definitions in docs/conventions.md.
#include "watersic/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "eval/score.h"
#include "io/json.h"
#include "model/forward.h"
#include "runtime/open_model.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

class Evaluate : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("evaluate");
    ThreadPool pool;
    write_small_checkpoint(pool, *folder_ / "model", 1);
    write_small_checkpoint(pool, *folder_ / "other", 2);
    std::string text;
    for (int i = 0; i < 60; ++i)
      text += "Call me Ishmael. Some years ago, number " + std::to_string(i) + "\n";
    write_file(*folder_ / "text.txt", text);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path file(const std::string& name) { return *folder_ / name; }
  static EvaluateResult run(EvaluateOptions options) {
    options.threads = 2;
    return evaluate(file("model"), file("text.txt"), options);
  }
  static std::string error_of(const std::string& model, const std::string& text,
                              const EvaluateOptions& options) {
    try {
      evaluate(file(model), file(text), options);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  }

  static TestFolder* folder_;
};
TestFolder* Evaluate::folder_ = nullptr;

TEST_F(Evaluate, FollowsTheConventions) {
  ThreadPool pool(2);
  const auto model = open_model(file("model"), pool);
  const Tokenizer tokenizer = model->tokenizer();
  const OutputHead head(model->config(), model->weights());
  for (const Convention convention : {Convention::kHuggingFace, Convention::kLlamaCpp}) {
    const bool llama = convention == Convention::kLlamaCpp;
    const EvaluateResult result = run({.convention = convention, .context = 40});

    std::string text = read_text(file("text.txt"));
    if (llama) text.pop_back();
    const std::vector<int32_t> ids = tokenizer.encode(text);
    ASSERT_EQ(ids[0], 4094);
    double nll = 0, count = 0;
    for (size_t start = 0; start + 40 <= ids.size(); start += 40) {
      std::vector<std::vector<int32_t>> window{{ids.begin() + static_cast<int64_t>(start),
                                                ids.begin() + static_cast<int64_t>(start) + 40}};
      if (llama) window[0][0] = 4094;
      const Matrix<float> logits =
          head.logits(pool, forward_all(pool, model->config(), model->weights(), window).view());
      for (size_t i = llama ? 20 : 0; i < 39; ++i, ++count) {
        const auto row = logits.row(static_cast<int64_t>(i));
        nll += log_sum_exp(row) - static_cast<double>(row[static_cast<size_t>(window[0][i + 1])]);
      }
    }
    nll /= count;
    EXPECT_EQ(result.tokens, static_cast<int64_t>(count));
    EXPECT_EQ(result.windows, static_cast<int64_t>(ids.size() / 40));
    EXPECT_EQ(result.context, 40);
    EXPECT_NEAR(result.nll, nll, 1e-5);
    EXPECT_NEAR(result.perplexity, std::exp(nll), 1e-4 * std::exp(nll));
    const double tokens = static_cast<double>(ids.size()) - 1;
    EXPECT_NEAR(result.bits_per_byte,
                nll / std::numbers::ln2 * tokens / static_cast<double>(text.size()), 1e-5);
    EXPECT_FALSE(result.has_reference);
  }
}

TEST_F(Evaluate, ContextsAreTheModelsAtMost) {
  EXPECT_EQ(run({}).context, 128);
  EXPECT_EQ(run({.convention = Convention::kLlamaCpp}).context, 128);
  EXPECT_EQ(error_of("model", "text.txt", {.context = 129}),
            "context: expected at most 128, the model's, found 129");
}

TEST_F(Evaluate, AModelAgreesWithItself) {
  const EvaluateResult result = run({.reference = file("model")});
  EXPECT_EQ(result.kl_bits, 0);
  EXPECT_EQ(result.top1, 1);
  EXPECT_EQ(result.reference_perplexity, result.perplexity);
  EXPECT_EQ(result.reference_id, result.model_id);
}

TEST_F(Evaluate, ComparesWithAnother) {
  const EvaluateResult result = run({.reference = file("other")}), alone = run({}),
                       other = evaluate(file("other"), file("text.txt"), {});
  EXPECT_EQ(result.perplexity, alone.perplexity);
  EXPECT_NEAR(result.reference_perplexity, other.perplexity, 1e-9 * other.perplexity);
  EXPECT_NE(result.reference_id, result.model_id);
  EXPECT_GT(result.kl_bits, 0.01);
  EXPECT_LT(result.top1, 0.5);
  // The same numbers in nats, with their errors.
  const KlStatistics& statistics = result.kl_statistics;
  EXPECT_NEAR(statistics.kl.value, result.kl_bits * std::numbers::ln2, 1e-12);
  EXPECT_GT(statistics.kl.error, 0);
  EXPECT_NEAR(statistics.perplexity.value, result.perplexity, 1e-9 * result.perplexity);
  EXPECT_NEAR(statistics.reference_perplexity.value, other.perplexity, 1e-9 * other.perplexity);
  EXPECT_NEAR(statistics.same_top.value, result.top1, 1e-12);
  const Json json = Json::parse(to_json(result));
  for (const char* field : {"schema", "model_id", "perplexity", "nll", "bits_per_byte", "tokens",
                            "kl_bits", "top1", "context", "text_hash", "kl_statistics"}) {
    EXPECT_TRUE(json.contains(field)) << field;
  }
  EXPECT_FALSE(Json::parse(to_json(alone)).contains("kl_bits"));
}

TEST_F(Evaluate, RebuildsWikitext) {
  write_file(file("wiki.test.raw"), read_text(file("text.txt")));
  write_file(file("rebuilt.txt"), wikitext_as_scored(read_text(file("text.txt"))));
  const EvaluateResult raw = evaluate(file("model"), file("wiki.test.raw"), {.wikitext = true}),
                       rebuilt = evaluate(file("model"), file("rebuilt.txt"), {});
  EXPECT_EQ(raw.perplexity, rebuilt.perplexity);
  EXPECT_EQ(raw.text_hash, rebuilt.text_hash);
  EXPECT_NE(raw.text_hash, run({}).text_hash);
}

TEST_F(Evaluate, ErrorsNameWhatIsWrong) {
  write_file(file("short.txt"), "too short");
  EXPECT_NE(error_of("model", "short.txt", {}).find("short.txt: expected at least one window"),
            std::string::npos);
  std::ofstream(file("empty.txt")).flush();
  EXPECT_NE(error_of("model", "empty.txt", {}).find("empty.txt"), std::string::npos);
  EXPECT_NE(error_of("absent", "text.txt", {}).find("absent"), std::string::npos);
  Json config = small_config();
  config["vocab_size"] = 4100;
  ThreadPool pool;
  write_small_checkpoint(pool, file("wider"), 1, config);
  EXPECT_NE(error_of("model", "text.txt", {.reference = file("wider")})
                .find("expected the reference's vocabulary of 4100, found 4096"),
            std::string::npos);
}

}  // namespace
}  // namespace watersic
