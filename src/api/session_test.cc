#include "watersic/session.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "api/model_impl.h"
#include "io/json.h"
#include "support/error_of.h"
#include "support/small_checkpoint.h"
#include "watersic/bench.h"
#include "watersic/model.h"

namespace watersic {
namespace {

class Sessions : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("session");
    ThreadPool pool;
    write_small_checkpoint(pool, *folder_ / "model");
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::filesystem::path model() { return *folder_ / "model"; }
  static SessionOptions greedy(CacheType cache = CacheType::kFloat16) {
    return {.cache = cache, .sampling = {.temperature = 0}};
  }
  // A copy with a file of its own.
  static std::filesystem::path with(const std::string& file, const Json& json) {
    static int count = 0;
    const std::filesystem::path copy = *folder_ / std::to_string(count++);
    std::filesystem::copy(model(), copy);
    std::ofstream(copy / file) << json.dump();
    return copy;
  }

  static TestFolder* folder_;
};
TestFolder* Sessions::folder_ = nullptr;

TEST_F(Sessions, AModelKnowsItself) {
  const Model opened(model(), {.threads = 1});
  const ModelInfo info = opened.info();
  EXPECT_EQ(info.name, model().string());
  EXPECT_EQ(info.context, 128);
  EXPECT_EQ(info.vocabulary, 4096);
  EXPECT_GT(info.weight_bytes, 4096);
  EXPECT_EQ(info.first_token, 4094);
  EXPECT_EQ(info.ends, std::vector<int32_t>{4095});
  EXPECT_EQ(opened.tokenize("It was"), tokenize(model(), "It was"));
  EXPECT_EQ(opened.detokenize(opened.tokenize("It was", false)), "It was");
  EXPECT_FALSE(opened.model_id().empty());
  const MemoryUse use = opened.memory();
  EXPECT_EQ(use.weights, info.weight_bytes);
  EXPECT_GT(use.cache, 0);
  EXPECT_EQ(use.total(), use.weights + use.cache + use.scratch);
  EXPECT_LT(opened.memory({.cache = CacheType::kInt8}).cache, use.cache);
  const Session session(opened);
  EXPECT_EQ(session.context(), 128);
  EXPECT_EQ(session.cache_bytes(), 0);
}

TEST_F(Sessions, WriteWhatGenerateWrites) {
  for (const CacheType cache : {CacheType::kFloat16, CacheType::kFloat32, CacheType::kInt8}) {
    const GenerateResult whole =
        generate(model(), "It was the best",
                 {.tokens = 30, .sampling = {.temperature = 0}, .threads = 2, .cache = cache});
    const Model opened(model(), {.threads = 2});
    Session session(opened, greedy(cache));
    for (int round = 0; round < 2; ++round) {
      session.append("It was the best");
      EXPECT_EQ(session.generate(30).ids, whole.ids);
      EXPECT_EQ(session.tokens().size(), whole.prompt.size() + 30);
      EXPECT_GT(session.cache_bytes(), 0);
      session.reset();
      EXPECT_TRUE(session.tokens().empty());
    }
    // The same in parts: what is generated is part of what is gone on from.
    Session parts(opened, greedy(cache));
    parts.append(whole.prompt);
    std::vector<int32_t> ids = parts.generate(10).ids;
    for (const int64_t count : {1, 19}) {
      const auto more = parts.generate(count).ids;
      ids.insert(ids.end(), more.begin(), more.end());
    }
    EXPECT_EQ(ids, whole.ids);
  }
}

TEST_F(Sessions, OfOneModelDoNotDisturbEachOther) {
  const Model opened(model(), {.threads = 2});
  const std::vector<std::string> prompts = {"It was", "Call me", "Once upon", "He"};
  const auto text_of = [&](const std::string& prompt) {
    Session session(opened, {.sampling = {.temperature = 1, .top_k = 20, .seed = 9}});
    session.append(prompt);
    return session.generate(40).text;
  };
  std::vector<std::string> alone, together(prompts.size());
  for (const std::string& prompt : prompts) alone.push_back(text_of(prompt));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < prompts.size(); ++i)
    threads.emplace_back([&, i] { together[i] = text_of(prompts[i]); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
}

TEST_F(Sessions, MayOutliveTheirModel) {
  Session session = [] {
    Model opened(model());
    Model moved = std::move(opened);
    return Session(moved, greedy());
  }();
  session.append("Once");
  EXPECT_EQ(session.generate(3).ids.size(), 3U);
}

TEST_F(Sessions, AConversationGoesOn) {
  const auto path = with("tokenizer_config.json",
                         {{"bos_token", "<|begin_of_text|>"},
                          {"eos_token", "<|begin_of_text|>"},
                          {"chat_template",
                           "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n"
                           "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"}});
  const Model opened(path);
  SessionOptions options = greedy();
  options.system = "Be kind.";
  Session session(opened, options);
  const GenerateResult first = session.chat("Hello", 8);
  EXPECT_EQ(first.prompt, opened.chat_tokens("Hello", "Be kind."));
  const GenerateResult second = session.chat("And?", 8);
  const std::string said = opened.detokenize(second.prompt);
  EXPECT_NE(said.find("system: Be kind.\nuser: Hello\nassistant: " + first.text + "\nuser: And?"),
            std::string::npos)
      << said;
  // What is remembered is what one who reads all of it at once would know.
  Session fresh(opened, greedy());
  fresh.append(second.prompt);
  EXPECT_EQ(fresh.generate(8).ids, second.ids);
  session.reset();
  EXPECT_EQ(session.chat("Hello", 8).ids, first.ids);
  // A conversation that is told as a whole takes the place of what was said.
  const std::vector<ChatMessage> told{
      {"system", "Be kind."}, {"user", "Hello"}, {"assistant", first.text}, {"user", "And?"}};
  EXPECT_EQ(opened.chat_tokens(told), second.prompt);
  EXPECT_EQ(opened.chat_text(told), said);
  EXPECT_EQ(opened.chat_text(told, false) + "assistant: ", said);
  Session other(opened, greedy());
  other.chat("What else?", 8);
  EXPECT_EQ(other.chat(told, 8).ids, second.ids);
}

TEST_F(Sessions, WhatDoesNotFitIsRefused) {
  Json config = read_json(model() / "config.json");
  config["max_position_embeddings"] = 100'000;
  const Model opened(with("config.json", config));
  int loaded = 0;
  const auto progress = [&](const ProgressEvent& event) { loaded += event.done > 0 ? 1 : 0; };
  // A machine with room for half of the context.
  opened.impl().machine = opened.memory({.context = 50'000}).total();
  const std::string error =
      error_of([&] { const Session session(opened, {.context = 60'000}, progress); });
  for (const char* part : {"expected at most", "GiB", "60000 tokens", "weights"})
    EXPECT_NE(error.find(part), std::string::npos) << error;
  EXPECT_EQ(loaded, 0);
  // Where nothing is asked for, the context is what fits.
  Session session(opened, greedy(), progress);
  EXPECT_GT(loaded, 0);
  EXPECT_EQ(session.context(), 50'000);
  session.append("Once");
  EXPECT_EQ(session.generate(2).ids.size(), 2U);
  opened.impl().machine = 1000;
  EXPECT_NE(error_of([&] { const Session more(opened); }).find("512 tokens"), std::string::npos);

  EXPECT_NE(error_of([&] {
              const Session more(Model(model()), {.context = 129});
            }).find("at most 128 tokens"),
            std::string::npos);
  Session small(Model(model()), {.context = 6});
  small.append("Once upon a time there was");
  EXPECT_NE(error_of([&] { small.generate(1); }).find("session's context"), std::string::npos);
}

TEST_F(Sessions, ABenchmarkSaysWhatItMeasured) {
  std::filesystem::path bare = *folder_ / "bare";
  std::filesystem::copy(model(), bare);
  std::filesystem::remove(bare / "tokenizer.json");
  const BenchResult r = bench(bare, {.prompt = 20, .tokens = 10, .repeat = 2, .threads = 2});
  EXPECT_EQ(r.prompt_tokens, 20);
  EXPECT_EQ(r.tokens, 10);
  EXPECT_EQ(r.threads, 2);
  EXPECT_GT(r.prompt_tokens_per_second, 0);
  EXPECT_GT(r.tokens_per_second, 0);
  EXPECT_EQ(r.weight_bytes, Model(bare).info().weight_bytes);
  EXPECT_GT(r.cache_bytes, 0);
  EXPECT_GT(r.peak_bytes, r.weight_bytes);
  const Json json = Json::parse(to_json(r));
  for (const char* field : {"model", "weights", "threads", "prompt_tokens", "tokens",
                            "load_seconds", "prompt_tokens_per_second", "tokens_per_second",
                            "weight_bytes", "cache_bytes", "scratch_bytes", "peak_bytes"})
    EXPECT_TRUE(json.contains(field)) << field;
  EXPECT_EQ(bench(bare, {.repeat = 1}).prompt_tokens, 128);  // the context
  EXPECT_NE(error_of([&] { bench(bare, {.prompt = 129}); }).find("128"), std::string::npos);
  EXPECT_NE(error_of([&] { bench(bare, {.repeat = 0}); }).find("repetitions"), std::string::npos);
}

}  // namespace
}  // namespace watersic
