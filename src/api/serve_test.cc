#include "watersic/serve.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "io/json.h"
#include "support/error_of.h"
#include "support/small_checkpoint.h"
#include "watersic/quantize.h"
#include "watersic/session.h"

namespace watersic {
namespace {

// A server on a port of its own, while it lives.
class Served {
 public:
  explicit Served(const std::filesystem::path& model, ServeOptions options = {}) {
    options.port = 0;
    std::promise<ServerInfo> ready;
    auto info = ready.get_future();
    thread_ = std::thread([this, model, options, ready = std::move(ready)]() mutable {
      serve(
          model, options, [this] { return stop_.load(); },
          [&](const ServerInfo& server) { ready.set_value(server); });
      ended_ = true;
    });
    info_ = info.get();
  }
  ~Served() {
    stop_ = true;
    thread_.join();
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  void stop() { stop_ = true; }
  bool ended() const { return ended_; }
  const ServerInfo& info() const { return info_; }
  httplib::Client client() const {
    httplib::Client client("127.0.0.1", info_.port);
    client.set_read_timeout(60);
    return client;
  }
  // Must be answered with `status`.
  Json post(const std::string& path, const Json& body, int status = 200) const {
    auto client = Served::client();
    const auto answer = client.Post(path, body.dump(), "application/json");
    EXPECT_TRUE(answer) << httplib::to_string(answer.error());
    if (!answer) return {};
    EXPECT_EQ(answer->status, status) << answer->body;
    return Json::parse(answer->body);
  }
  // Its whole text, and "[DONE]" if that came.
  std::string stream(const std::string& path, Json body) const {
    body["stream"] = true;
    auto client = Served::client();
    const auto answer = client.Post(path, body.dump(), "application/json");
    EXPECT_TRUE(answer);
    if (!answer) return {};
    EXPECT_EQ(answer->status, 200) << answer->body;
    EXPECT_EQ(answer->get_header_value("Content-Type"), "text/event-stream");
    std::string text;
    for (size_t begin = 0, end = 0; (end = answer->body.find("\n\n", begin)) != std::string::npos;
         begin = end + 2) {
      const std::string line = answer->body.substr(begin + 6, end - begin - 6);
      if (line == "[DONE]") return text + line;
      const Json choice = Json::parse(line)["choices"][0];
      text += choice.contains("text") ? choice["text"].get<std::string>()
                                      : choice["delta"].value("content", "");
    }
    return text;
  }
  // What /metrics says of a name.
  double metric(const std::string& name) const {
    auto client = Served::client();
    const auto answer = client.Get("/metrics");
    EXPECT_TRUE(answer);
    const size_t found = answer ? answer->body.find("\n" + name + " ") : std::string::npos;
    EXPECT_NE(found, std::string::npos) << name;
    return found == std::string::npos ? -1
                                      : std::stod(answer->body.substr(found + name.size() + 2));
  }
  bool becomes(const std::string& name, double value) const {
    for (int i = 0; i < 200 && metric(name) != value; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return metric(name) == value;
  }

 private:
  std::atomic<bool> stop_ = false, ended_ = false;
  ServerInfo info_;
  std::thread thread_;
};

const std::string kCompletions = "/v1/completions", kChat = "/v1/chat/completions";

class Serve : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("serve");
    ThreadPool pool;
    Json config = small_config();
    config["max_position_embeddings"] = 8192;
    config.erase("eos_token_id");  // so that it is known how long texts are
    write_small_checkpoint(pool, *folder_ / "model", 1, config);
    std::ofstream(*folder_ / "model/tokenizer_config.json")
        << Json{{"bos_token", "<|begin_of_text|>"},
                {"chat_template",
                 "{{ bos_token }}{% for m in messages %}{% if m.content == 'raise' %}"
                 "{{ raise_exception('No.') }}{% endif %}{{ m.role }}: {{ m.content }}\n"
                 "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"}};
    QuantizeOptions quantize;
    quantize.method = Method::kWatersic;
    quantize.bits = 3;
    quantize.coder = Coder::kPooled;
    quantize.calibration.source = CalibrationOptions::Source::kNone;
    quantize_model(*folder_ / "model", *folder_ / "tiny.wsic", quantize);
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::filesystem::path model() { return *folder_ / "tiny.wsic"; }
  static Json long_text(int64_t tokens) {
    return {{"prompt", "It was"}, {"max_tokens", tokens}, {"seed", 1}};
  }

  static TestFolder* folder_;
};
TestFolder* Serve::folder_ = nullptr;

TEST_F(Serve, AnswersAreThoseOfASession) {
  const Served server(model());
  EXPECT_EQ(server.info().model, "tiny");
  const Model opened(model());
  Session session(opened, {.sampling = {.temperature = 0.9, .top_k = 50, .seed = 5}});
  session.append("It was the best of");
  const GenerateResult expected = session.generate(40);
  Json body = {{"prompt", "It was the best of"},
               {"max_tokens", 40},
               {"seed", 5},
               {"temperature", 0.9},
               {"top_k", 50}};
  const Json answer = server.post(kCompletions, body);
  EXPECT_EQ(answer["choices"][0]["text"], expected.text);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], expected.prompt.size());
  EXPECT_EQ(server.stream(kCompletions, body), expected.text + "[DONE]");
  body["prompt"] = expected.prompt;  // its tokens
  EXPECT_EQ(server.post(kCompletions, body)["choices"][0]["text"], expected.text);

  Session talk(opened, {.system = "Be kind.", .sampling = {.temperature = 0}});
  const GenerateResult said = talk.chat("Hello", 30);
  const Json chat = {
      {"messages",
       {{{"role", "system"}, {"content", "Be kind."}}, {{"role", "user"}, {"content", "Hello"}}}},
      {"max_tokens", 30},
      {"temperature", 0}};
  EXPECT_EQ(server.post(kChat, chat)["choices"][0]["message"]["content"], said.text);
  EXPECT_EQ(server.stream(kChat, chat), said.text + "[DONE]");
  const Json refused =
      server.post(kChat, {{"messages", {{{"role", "user"}, {"content", "raise"}}}}}, 400)["error"];
  EXPECT_EQ(refused["param"], "messages");
  EXPECT_EQ(refused["message"].get<std::string>().find(folder_->path().string()), std::string::npos)
      << refused;
}

// Prompts of many lengths, so that one is read in pieces while others write.
TEST_F(Serve, ManyAtOnceGetWhatEachGetsAlone) {
  constexpr size_t kClients = 8;
  const Model opened(model());
  std::vector<Json> bodies;
  std::vector<std::string> expected;
  for (size_t i = 0; i < kClients; ++i) {
    std::string prompt;
    for (size_t word = 0; word < 1 + i * i * 12; ++word) prompt += "and it was the ";
    Session session(opened, {.sampling = {.temperature = 1.1, .seed = 100 + i}});
    session.append(prompt);
    expected.push_back(session.generate(80).text);
    bodies.push_back(
        {{"prompt", prompt}, {"max_tokens", 80}, {"seed", 100 + i}, {"temperature", 1.1}});
  }
  for (const int64_t parallel : {8, 3}) {
    const Served server(model(), {.parallel = parallel});
    std::vector<std::string> found(kClients);
    std::vector<std::thread> clients;
    for (size_t i = 0; i < kClients; ++i)
      clients.emplace_back([&, i] {
        found[i] = i % 2 == 0 ? server.post(kCompletions, bodies[i])["choices"][0]["text"]
                              : Json(server.stream(kCompletions, bodies[i]));
      });
    for (std::thread& client : clients) client.join();
    for (size_t i = 0; i < kClients; ++i)
      EXPECT_EQ(found[i], expected[i] + (i % 2 == 0 ? "" : "[DONE]")) << i;
    EXPECT_LT(server.metric("watersic_steps_total"), parallel == 8 ? 300 : 1000);
  }
}

TEST_F(Serve, TellsWhatItServes) {
  const Served server(model(), {.name = "my/model"});
  auto client = server.client();
  EXPECT_EQ(Json::parse(client.Get("/v1/models")->body)["data"][0]["id"], "my/model");
  EXPECT_EQ(client.Get("/v1/models/my/model")->status, 200);
  EXPECT_EQ(client.Get("/v1/models/other")->status, 404);
  EXPECT_EQ(Json::parse(client.Get("/health")->body)["status"], "ok");
  const auto page = client.Get("/");
  EXPECT_NE(page->body.find("<!doctype html>"), std::string::npos);
  EXPECT_NE(page->get_header_value("Content-Security-Policy").find("default-src 'none'"),
            std::string::npos);
  EXPECT_EQ(server.metric("watersic_running"), 0);
}

TEST_F(Serve, WhatIsTakenIsAnsweredBeforeItEnds) {
  Served server(model());
  std::string text;
  std::thread client([&] { text = server.stream(kCompletions, long_text(2000)); });
  ASSERT_TRUE(server.becomes("watersic_running", 1));
  server.stop();
  auto asking = server.client();
  int status = 0;
  for (int i = 0; i < 100 && status != 503; ++i) {
    const auto health = asking.Get("/health");
    status = health ? health->status : 503;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(status, 503);
  const auto late = asking.Post(kCompletions, R"({"prompt": "x"})", "application/json");
  EXPECT_TRUE(!late || late->status == 503);
  client.join();
  EXPECT_TRUE(text.ends_with("[DONE]"));
  EXPECT_GT(text.size(), 2000U);
  for (int i = 0; i < 300 && !server.ended(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(server.ended());
}

TEST_F(Serve, WhatCannotBeServedIsAnError) {
  const auto error = [&](const ServeOptions& options) {
    return error_of([&] { serve(model(), options, [] { return true; }); });
  };
  EXPECT_NE(error({.parallel = 65}).find("parallel"), std::string::npos);
  EXPECT_NE(error({.api_key = "a b"}).find("API key"), std::string::npos);
  EXPECT_NE(error({.context = 8193}).find("8192"), std::string::npos);
  EXPECT_NE(error({.host = "203.0.113.1"}).find("203.0.113.1:8080"), std::string::npos);
  const Served server(model());
  EXPECT_NE(error({.port = server.info().port}).find("free"), std::string::npos);
}

}  // namespace
}  // namespace watersic
