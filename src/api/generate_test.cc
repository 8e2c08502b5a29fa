#include "watersic/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "io/text.h"
#include "model/forward.h"
#include "runtime/open_model.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"
#include "watersic/quantize.h"

namespace watersic {
namespace {

constexpr int32_t kBos = 4094, kEos = 4095;  // of the small checkpoint

class Generate : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("generate");
    ThreadPool pool;
    write_small_checkpoint(pool, *folder_ / "model");
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::filesystem::path model() { return *folder_ / "model"; }

  // A copy of the model with a file of its own.
  static std::filesystem::path with(const std::string& file, const Json& json) {
    static int count = 0;
    const std::filesystem::path copy = *folder_ / std::to_string(count++);
    std::filesystem::copy(model(), copy);
    std::ofstream(copy / file) << json.dump();
    return copy;
  }
  static std::filesystem::path with_template(const std::string& source) {
    return with("tokenizer_config.json", {{"bos_token", "<|begin_of_text|>"},
                                          {"eos_token", "<|begin_of_text|>"},
                                          {"chat_template", source}});
  }
  static std::vector<int32_t> encoded(const std::string& text) {
    ThreadPool pool(1);
    return open_model(model(), pool)->tokenizer().encode(text, false);
  }
  // The most likely tokens behind `prompt`, each from a pass over all that there is so far.
  static std::vector<int32_t> most_likely(const std::filesystem::path& path,
                                          std::vector<int32_t> prompt, size_t count) {
    ThreadPool pool(2);
    const auto opened = open_model(path, pool);
    const OutputHead head(opened->config(), opened->weights());
    std::vector<int32_t> ids;
    while (ids.size() < count) {
      const std::vector<std::vector<int32_t>> windows{prompt};
      const Matrix<float> logits =
          head.logits(pool, forward_all(pool, opened->config(), opened->weights(), windows));
      const auto last = logits.row(logits.rows() - 1);
      ids.push_back(static_cast<int32_t>(std::ranges::max_element(last) - last.begin()));
      prompt.push_back(ids.back());
    }
    return ids;
  }
  static std::string error_of(const std::filesystem::path& path, const std::string& prompt,
                              const GenerateOptions& options) {
    try {
      generate(path, prompt, options);
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }

  static TestFolder* folder_;
};
TestFolder* Generate::folder_ = nullptr;

const GenerateOptions kGreedy = {.tokens = 24, .sampling = {.temperature = 0}};

TEST_F(Generate, AtTemperatureZeroEveryTokenIsTheMostLikely) {
  QuantizeOptions quantize;
  quantize.method = Method::kRtn;
  quantize.bits = 4;
  quantize.calibration.source = CalibrationOptions::Source::kNone;
  quantize_model(model(), *folder_ / "model.wsic", quantize);
  // With the arithmetic of a pass over all at once.
  GenerateOptions options = kGreedy;
  options.weights = WeightFormat::kFloat32;
  options.cache = CacheType::kFloat32;
  std::vector<std::vector<int32_t>> found;
  for (const auto& path : {model(), *folder_ / "model.wsic"}) {
    const GenerateResult r = generate(path, "It was the best of", options);
    std::vector<int32_t> prompt = encoded("It was the best of");
    prompt.insert(prompt.begin(), kBos);
    EXPECT_EQ(r.prompt, prompt);
    EXPECT_EQ(r.ids, most_likely(path, prompt, 24));
    EXPECT_FALSE(r.ended);
    found.push_back(r.ids);
  }
  EXPECT_NE(found[0], found[1]);
}

TEST_F(Generate, TextStreamsAsItComes) {
  std::string streamed;
  const GenerateOptions options = {.tokens = 100, .sampling = {.temperature = 1, .seed = 5}};
  const GenerateResult r = generate(model(), "Call me", options, [&](std::string_view piece) {
    EXPECT_FALSE(piece.empty());
    EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
    streamed += piece;
    return true;
  });
  EXPECT_EQ(r.ids.size(), 100U);
  EXPECT_EQ(streamed, r.text);
  ThreadPool pool(1);
  EXPECT_EQ(r.text, replace_invalid_utf8(open_model(model(), pool)->tokenizer().decode(r.ids)));

  int pieces = 0;
  const GenerateResult stopped =
      generate(model(), "Call me", options, [&](std::string_view) { return ++pieces < 3; });
  EXPECT_EQ(pieces, 3);
  EXPECT_LT(stopped.ids.size(), 100U);
  EXPECT_FALSE(stopped.ended);
  EXPECT_EQ(r.text.rfind(stopped.text, 0), 0U);
}

TEST_F(Generate, DependsOnTheSeedAndNotOnThreads) {
  const auto ids = [](uint64_t seed, int threads) {
    return generate(model(), "A",
                    {.tokens = 20, .sampling = {.top_k = 50, .seed = seed}, .threads = threads})
        .ids;
  };
  EXPECT_EQ(ids(1, 1), ids(1, 3));
  EXPECT_NE(ids(1, 1), ids(2, 1));
}

TEST_F(Generate, EndsWhereTheModelSaysSo) {
  const std::vector<int32_t> ids = generate(model(), "Once", kGreedy).ids;
  const auto second = std::ranges::find_if(ids, [&](int32_t id) { return id != ids[0]; });
  ASSERT_NE(second, ids.end());
  const auto ending = with("generation_config.json", {{"eos_token_id", {kEos, *second}}});
  const GenerateResult r = generate(ending, "Once", kGreedy);
  EXPECT_TRUE(r.ended);
  EXPECT_EQ(r.ids, std::vector<int32_t>(ids.begin(), second));
}

TEST_F(Generate, TakesWhatIsLeftOpenFromTheModel) {
  const auto greedy = with("generation_config.json", {{"temperature", 0.8}, {"top_k", 1}});
  GenerateOptions options = {.tokens = 24};
  EXPECT_EQ(generate(greedy, "Once", options).ids, generate(model(), "Once", kGreedy).ids);
  EXPECT_NE(generate(model(), "Once", options).ids, generate(model(), "Once", kGreedy).ids);
  options.sampling.top_k = 0;
  EXPECT_NE(generate(greedy, "Once", options).ids, generate(model(), "Once", kGreedy).ids);
}

TEST_F(Generate, AChatGoesThroughTheTemplate) {
  // The end of a turn is no end-of-text token of the configuration here.
  const auto chat = with_template(
      "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}"
      "{% if m.role == 'assistant' %} <|end_of_text|>{% endif %}\n\n{% endfor %}"
      "{% if add_generation_prompt %}answer:{% endif %}");
  std::ofstream(chat / "generation_config.json") << "{}";
  Json config = small_config();
  config.erase("eos_token_id");
  std::ofstream(chat / "config.json") << config.dump();

  GenerateOptions options = kGreedy;
  options.chat = true;
  options.system = "Be kind.";
  const GenerateResult r = generate(chat, "Hello", options);
  std::vector<int32_t> prompt = encoded("system: Be kind.\nuser: Hello\nanswer:");
  prompt.insert(prompt.begin(), kBos);
  EXPECT_EQ(r.prompt, prompt);
  EXPECT_EQ(r.ids, most_likely(chat, prompt, r.ids.size()));

  // So that it ends as soon as the end of a turn may come.
  options.tokens = 100;
  options.sampling.temperature = 1e6;
  bool ended = false;
  for (options.sampling.seed = 1; options.sampling.seed < 200 && !ended; ++options.sampling.seed)
    ended = generate(chat, "Hello", options).ended;
  EXPECT_TRUE(ended);
}

TEST_F(Generate, WhatCannotBeIsAnError) {
  const auto has = [&](const std::string& error, std::initializer_list<const char*> parts) {
    for (const char* part : parts) EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  std::string text;
  for (int i = 0; i < 200; ++i) text += " word";
  has(error_of(model(), text, {}), {"model", "prompt of less than 128 tokens", "found 2"});
  has(error_of(model(), "Once", {.tokens = 127}), {"128", "127"});
  has(error_of(model(), "Once", {.chat = true}), {"model", "chat template", "found none"});
  has(error_of(model(), "Once", {.system = "x"}), {"system"});
  has(error_of(model(), "Once", {.sampling = {.temperature = -1}}), {"temperature", "-1"});
  has(error_of(model(), "Once", {.sampling = {.top_p = 0}}), {"top-p"});
  has(error_of(with("generation_config.json", {{"top_p", "high"}}), "Once", {}),
      {"generation_config.json", "top_p"});
  has(error_of(with_template("{{ raise_exception('Only rhymes') }}"), "Once", {.chat = true}),
      {"Only rhymes"});
  has(error_of(with_template("{% include 'x' %}"), "Once", {.chat = true}), {"line 1", "include"});
  // What the context leaves is taken where nothing is asked for.
  EXPECT_EQ(generate(model(), "Once", {.sampling = {.temperature = 0}}).ids.size() +
                generate(model(), "Once", {.sampling = {.temperature = 0}}).prompt.size(),
            128U);
  EXPECT_EQ(generate(model(), "", {.tokens = 1}).prompt, std::vector<int32_t>{kBos});
}

}  // namespace
}  // namespace watersic
