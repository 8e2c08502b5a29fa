// Requests from their bodies to their answers, without a socket.
#include "server/service.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/tiny_service.h"

namespace watersic {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Services = TinyService;

TEST_F(Services, ACompletionHasItsForm) {
  const Json answer =
      whole({{"prompt", "It was"}, {"max_tokens", 5}, {"seed", 3}, {"logprobs", 2}, {"n", 2}});
  EXPECT_EQ(answer["object"], "text_completion");
  EXPECT_EQ(answer["model"], "tiny");
  EXPECT_EQ(answer["id"].get<std::string>().substr(0, 5), "cmpl-");
  const auto prompt = static_cast<int64_t>(tokenizer_.encode("It was").size());
  EXPECT_EQ(answer["usage"]["prompt_tokens"], prompt);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 10);
  EXPECT_EQ(answer["usage"]["total_tokens"], prompt + 10);
  ASSERT_EQ(answer["choices"].size(), 2U);
  for (int i = 0; i < 2; ++i) {
    const Json& choice = answer["choices"][i];
    EXPECT_EQ(choice["index"], i);
    EXPECT_EQ(choice["finish_reason"], "length");
    const Json& logprobs = choice["logprobs"];
    ASSERT_EQ(logprobs["tokens"].size(), 5U);
    for (size_t t = 0; t < 5; ++t) {
      EXPECT_LE(logprobs["token_logprobs"][t].get<double>(), 0);
      EXPECT_EQ(logprobs["top_logprobs"][t].size(), 2U);
    }
    EXPECT_EQ(logprobs["text_offset"][0], 0);
  }
  EXPECT_NE(answer["choices"][0]["text"], answer["choices"][1]["text"]);
  // The second choice is what the next seed gives.
  EXPECT_EQ(whole({{"prompt", "It was"}, {"max_tokens", 5}, {"seed", 4}})["choices"][0]["text"],
            answer["choices"][1]["text"]);
  EXPECT_EQ(whole({{"prompt", ""}})["usage"]["completion_tokens"], 16);
}

TEST_F(Services, AChatHasItsForm) {
  const Json body = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
                     {"max_tokens", 6},
                     {"seed", 1},
                     {"logprobs", true},
                     {"top_logprobs", 3}};
  const Json answer = whole(body, true);
  EXPECT_EQ(answer["object"], "chat.completion");
  const Json& choice = answer["choices"][0];
  EXPECT_EQ(choice["message"]["role"], "assistant");
  const Json& content = choice["logprobs"]["content"];
  ASSERT_EQ(content.size(), 6U);
  std::string bytes;
  for (const Json& token : content) {
    EXPECT_EQ(token["top_logprobs"].size(), 3U);
    EXPECT_GE(token["top_logprobs"][0]["logprob"], token["top_logprobs"][1]["logprob"]);
    for (const Json& byte : token["bytes"]) bytes += static_cast<char>(byte.get<int>());
  }
  EXPECT_EQ(replace_invalid_utf8(bytes), choice["message"]["content"]);
}

TEST_F(Services, AStreamIsTheWholeInParts) {
  for (const bool chat : {false, true}) {
    Json body = {{"max_tokens", 40}, {"seed", 7}, {"n", 2}};
    if (chat)
      body["messages"] = {{{"role", "user"}, {"content", "Hi"}}};
    else
      body["prompt"] = "Hi";
    const Json answer = whole(body, chat);
    body["stream_options"] = {{"include_usage", true}};
    const std::vector<Json> events = stream(body, chat);
    std::vector<std::string> texts(2), finishes(2);
    std::vector<int> greetings(2);
    ASSERT_GT(events.size(), 20U);
    EXPECT_EQ(events.back(), "done");
    EXPECT_EQ(events[events.size() - 2]["usage"], answer["usage"]);
    for (size_t i = 0; i + 2 < events.size(); ++i) {
      EXPECT_EQ(events[i]["id"], events[0]["id"]);
      EXPECT_EQ(events[i]["object"], chat ? "chat.completion.chunk" : "text_completion");
      const Json& choice = events[i]["choices"][0];
      const auto at = choice["index"].get<size_t>();
      if (chat && choice["delta"].contains("role")) ++greetings[at];
      texts[at] += chat ? choice["delta"].value("content", "") : choice["text"].get<std::string>();
      if (!choice["finish_reason"].is_null()) finishes[at] = choice["finish_reason"];
    }
    for (size_t i = 0; i < 2; ++i) {
      const Json& choice = answer["choices"][i];
      EXPECT_EQ(texts[i], chat ? choice["message"]["content"] : choice["text"]);
      EXPECT_EQ(finishes[i], "length");
      EXPECT_EQ(greetings[i], chat ? 1 : 0);
    }
  }
}

TEST_F(Services, StopsEndAText) {
  Json body = {{"prompt", "Hi"}, {"max_tokens", 60}, {"seed", 2}};
  const std::string all = whole(body)["choices"][0]["text"];
  ASSERT_GT(all.size(), 40U);
  const std::string stop = all.substr(20, 6);
  body["stop"] = {"never said", stop};
  const Json choice = whole(body)["choices"][0];
  EXPECT_EQ(choice["text"], all.substr(0, all.find(stop)));
  EXPECT_EQ(choice["finish_reason"], "stop");
  std::string streamed;
  for (const Json& event : stream(body))
    if (event.is_object()) streamed += event["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(streamed, choice["text"]);
}

TEST_F(Services, WhatCannotBeIsRefused) {
  EXPECT_EQ(refusal({{"prompt", "x"}, {"model", "gpt-5"}}).code, "model_not_found");
  EXPECT_EQ(refusal({{"prompt", "x"}, {"model", "gpt-5"}}).status, 404);
  const ApiError full = refusal({{"prompt", "x"}, {"max_tokens", 256}});
  EXPECT_EQ(full.code, "context_length_exceeded");
  EXPECT_NE(std::string(full.what()).find("256"), std::string::npos);
  EXPECT_EQ(refusal({{"prompt", {4096}}}).param, "prompt");
  const ApiError template_error =
      refusal({{"messages", {{{"role", "user"}, {"content", "?!"}}}}}, true);
  EXPECT_EQ(template_error.param, "messages");
  EXPECT_EQ(template_error.status, 400);
  EXPECT_THROW(service_->model("other"), ApiError);
  EXPECT_EQ(Json::parse(service_->model("tiny"))["id"], "tiny");
  EXPECT_EQ(Json::parse(service_->models())["data"].size(), 1U);
}

TEST_F(Services, ManyWaitAndOfMoreNoneIsTaken) {
  restart({.parallel = 1, .waiting = 1});
  const std::string body = Json{{"prompt", "x"}, {"max_tokens", 200}}.dump();
  auto first = service_->start(body, false);
  wait_for([](const Load& load) { return load.running == 1; });
  auto second = service_->start(body, false);
  const ApiError full = refusal(Json::parse(body));
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.code, "queue_full");
  EXPECT_EQ(error_json(full)["error"]["type"], "rate_limit_error");
  // Who goes away makes room, waiting or not.
  second.reset();
  auto third = service_->start(body, false);
  first.reset();
  while (!third->whole(milliseconds(50))) {
  }
  wait_for([](const Load& load) { return load.running == 0 && load.waiting == 0; });
  EXPECT_EQ(scheduler_->load().cache_bytes, 0);
}

TEST_F(Services, AReaderThatIsSlowHoldsUpNobody) {
  const Json body = {{"prompt", "x"}, {"max_tokens", 200}, {"seed", 1}, {"logprobs", 20}, {"n", 4}};
  restart({.parallel = 8});
  Json streamed = body;
  streamed["stream"] = true;
  const auto slow = service_->start(streamed.dump(), false);
  // It is written until the buffer is full, and then it waits.
  int64_t written = -1;
  while (scheduler_->load().written_tokens != written) {
    written = scheduler_->load().written_tokens;
    std::this_thread::sleep_for(milliseconds(300));
  }
  EXPECT_LT(written, 800);
  EXPECT_GT(written, 50);
  EXPECT_EQ(whole({{"prompt", "y"}, {"max_tokens", 20}})["usage"]["completion_tokens"], 20);
  std::string text;
  while (!slow->done()) text += slow->events(milliseconds(50));
  EXPECT_NE(text.find("[DONE]"), std::string::npos);
  EXPECT_EQ(text.find("error"), std::string::npos);
}

TEST_F(Services, TooLongIsATimeout) {
  restart({}, seconds(0));
  const auto completion = service_->start(Json{{"prompt", "x"}, {"max_tokens", 200}}.dump(), false);
  try {
    while (!completion->whole(milliseconds(1))) {
    }
    ADD_FAILURE();
  } catch (const ApiError& e) {
    EXPECT_EQ(e.status, 504);
  }
  const std::vector<Json> events = stream({{"prompt", "x"}, {"max_tokens", 200}});
  EXPECT_EQ(events.back()["error"]["code"], "timeout");
}

TEST_F(Services, DrainingTakesNoMore) {
  const auto last = service_->start(Json{{"prompt", "x"}}.dump(), false);
  scheduler_->drain();
  EXPECT_EQ(refusal({{"prompt", "x"}}).status, 503);
  while (!last->whole(milliseconds(50))) {
  }
  EXPECT_TRUE(last->done());
}

TEST_F(Services, WhatIsNotFinishedFailsWithTheScheduler) {
  restart({.parallel = 1});
  AnswerOrder order;
  order.order.prompt = {1, 2};
  order.order.options.tokens = 200;
  order.count = 2;
  const auto answer = scheduler_->submit(order);
  service_.reset();
  scheduler_.reset();
  EXPECT_TRUE(answer->finished());
  EXPECT_TRUE(answer->error());
}

TEST_F(Services, MetricsAreInPrometheusForm) {
  whole({{"prompt", "x"}, {"max_tokens", 7}});
  metrics_.count_answer("/v1/completions", 200);
  wait_for([](const Load& load) { return load.running == 0; });
  const std::string text = metrics_.text(scheduler_->load());
  for (const char* line :
       {"watersic_requests_total{path=\"/v1/completions\",code=\"200\"} 1\n",
        "# TYPE watersic_running gauge\n", "watersic_running 0\n",
        "watersic_generated_tokens_total 7\n", "watersic_first_token_seconds_count 1\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    const std::string line = text.substr(begin, end - begin);
    EXPECT_TRUE(line.rfind("# ", 0) == 0 || line.rfind("watersic_", 0) == 0) << line;
    begin = end + 1;
  }
}

}  // namespace
}  // namespace watersic
