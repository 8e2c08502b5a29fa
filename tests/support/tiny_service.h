// A service of a tiny random model that never ends a text by itself, for tests of the server.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "engine/network.h"
#include "server/service.h"
#include "support/tiny_models.h"
#include "watersic/error.h"

namespace watersic {

class TinyService : public testing::Test {
 protected:
  static constexpr auto kWait = std::chrono::milliseconds(50);

  TinyService() { restart({}); }

  void restart(const SchedulerLimits& limits, std::chrono::seconds limit = std::chrono::seconds(60),
               int64_t context = 256) {
    service_.reset();
    scheduler_ =
        std::make_unique<Scheduler>(pool_, network_, CacheType::kFloat16, tokenizer_, limits);
    const auto chat_prompt = [this](const std::vector<ChatMessage>& messages) {
      std::string text;
      for (const ChatMessage& m : messages) {
        if (m.content == "?!") throw Error("the template: only rhymes");
        text += m.role + ": " + m.content + "\n";
      }
      return ServedModel::Prompt{.ids = tokenizer_.encode(text, false), .ends = {}};
    };
    const auto sampler = [](const Sampling& s) {
      return SamplerOptions{.temperature = s.temperature.value_or(1),
                            .top_k = s.top_k.value_or(0),
                            .top_p = s.top_p.value_or(1),
                            .min_p = s.min_p.value_or(0)};
    };
    service_ = std::make_unique<Service>(ServedModel{.name = "tiny",
                                                     .context = context,
                                                     .vocabulary = config_.vocabulary,
                                                     .first_token = 5,
                                                     .tokenizer = &tokenizer_,
                                                     .chat_prompt = chat_prompt,
                                                     .sampler = sampler},
                                         *scheduler_, metrics_, limit);
  }
  Json whole(const Json& body, bool chat = false) {
    const auto completion = service_->start(body.dump(), chat);
    while (true)
      if (const auto text = completion->whole(kWait)) return Json::parse(*text);
  }
  std::vector<Json> stream(Json body, bool chat = false) {
    body["stream"] = true;
    const auto completion = service_->start(body.dump(), chat);
    std::string text;
    while (!completion->done()) text += completion->events(kWait);
    std::vector<Json> events;
    for (size_t begin = 0, end = 0; (end = text.find("\n\n", begin)) != std::string::npos;
         begin = end + 2) {
      const std::string line = text.substr(begin, end - begin);
      EXPECT_EQ(line.rfind("data: ", 0), 0U) << line;
      events.push_back(line == "data: [DONE]" ? Json("done") : Json::parse(line.substr(6)));
    }
    return events;
  }
  ApiError refusal(const Json& body, bool chat = false) {
    try {
      service_->start(body.dump(), chat);
    } catch (const ApiError& e) {
      return e;
    }
    ADD_FAILURE() << "was taken: " << body;
    return {0, ""};
  }
  // Until it is so.
  void wait_for(const std::function<bool(const Load&)>& what) {
    for (int i = 0; i < 1000 && !what(scheduler_->load()); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(what(scheduler_->load()));
  }

  ThreadPool pool_{2};
  Tokenizer tokenizer_ = Tokenizer::load(WATERSIC_SOURCE_DIR "/models/books-llama");
  ModelConfig config_ = [] {
    Json json = tiny_config("llama");
    json["vocab_size"] = 4096;
    json["max_position_embeddings"] = 8192;
    return parse_config(json, "config.json");
  }();
  MemorySource source_ = random_model(config_, 1);
  Network network_ = dense_network(pool_, config_, source_);
  Metrics metrics_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Service> service_;
};

}  // namespace watersic
