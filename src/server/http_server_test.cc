// The service on a socket, and clients of every kind.
#include "server/http_server.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "support/tiny_service.h"

namespace watersic {
namespace {

const std::string kTextPath = "/v1/completions", kChatPath = "/v1/chat/completions";

class Http : public TinyService {
 protected:
  ~Http() override { server_.reset(); }

  void listen(const HttpOptions& options = {}, const SchedulerLimits& limits = {}) {
    server_.reset();
    restart(limits, std::chrono::seconds(60), 8192);
    server_ = std::make_unique<HttpServer>(*service_, *scheduler_, metrics_, options);
  }
  httplib::Client client() const {
    httplib::Client client("127.0.0.1", server_->port());
    client.set_read_timeout(60);
    return client;
  }
  // Must be answered with `status`.
  Json post(const Json& body, int status = 200) const {
    auto client = Http::client();
    const auto answer = client.Post(kTextPath, body.dump(), "application/json");
    EXPECT_TRUE(answer) << httplib::to_string(answer.error());
    if (!answer) return {};
    EXPECT_EQ(answer->status, status) << answer->body;
    return Json::parse(answer->body);
  }
  static Json long_text(int64_t tokens) {
    return {{"prompt", "It was"}, {"max_tokens", tokens}, {"seed", 1}};
  }
  bool disconnects(int count) const {
    const std::string line = "watersic_disconnects_total " + std::to_string(count) + "\n";
    for (int i = 0; i < 500; ++i) {
      if (metrics_.text({}).find(line) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

  std::unique_ptr<HttpServer> server_;
};

TEST_F(Http, WhatIsWrongIsRefused) {
  listen({.body_bytes = 10'000});
  const auto refused = [&](const std::string& body, int status, const std::string& part) {
    auto sender = client();
    const auto answer = sender.Post(kChatPath, body, "application/json");
    ASSERT_TRUE(answer) << httplib::to_string(answer.error());
    EXPECT_EQ(answer->status, status) << answer->body;
    const Json error = Json::parse(answer->body)["error"];
    for (const char* field : {"message", "type", "param", "code"})
      EXPECT_TRUE(error.contains(field)) << field;
    EXPECT_NE(answer->body.find(part), std::string::npos) << answer->body;
  };
  refused("{", 400, "not valid JSON");
  refused(R"({"messages": 3})", 400, "\"param\":\"messages\"");
  refused(R"({"messages": [], "temperature": NaN})", 400, "temperature");
  refused("", 400, "not valid JSON");
  refused(std::string(10'001, ' '), 413, "at most 10000 bytes");
  refused(std::string(5'000'000, ' '), 413, "at most 10000 bytes");
  auto sender = client();
  // Small while it is compressed.
  sender.set_compress(true);
  EXPECT_EQ(sender.Post(kChatPath, std::string(2'000'000, ' '), "application/json")->status, 413);
  sender.set_compress(false);
  EXPECT_EQ(sender.Post(kChatPath, httplib::MultipartFormDataItems{{"a", "b", "c", "d"}})->status,
            415);
  EXPECT_EQ(sender.Get(kChatPath)->status, 405);
  EXPECT_EQ(sender.Delete(kChatPath)->status, 405);
  EXPECT_EQ(sender.Post("/v1/embeddings", "{}", "application/json")->status, 404);
  EXPECT_EQ(sender.Get("/../etc/passwd")->status, 404);
  EXPECT_EQ(sender.Get("/", {{"X-Long", std::string(100'000, 'x')}})->status, 400);
  EXPECT_EQ(scheduler_->load().written_tokens, 0);
}

TEST_F(Http, PagesOfOthersMayNotUseIt) {
  listen();
  const std::string own = "127.0.0.1:" + std::to_string(server_->port());
  const auto status = [&](const httplib::Headers& headers) {
    auto sender = client();
    return sender
        .Post(kTextPath, headers, R"({"prompt": "x", "max_tokens": 1})", "application/json")
        ->status;
  };
  EXPECT_EQ(status({{"Origin", "http://" + own}}), 200);
  EXPECT_EQ(status({{"Origin", "http://evil.example"}}), 403);
  EXPECT_EQ(status({{"Origin", "null"}}), 403);
  EXPECT_EQ(status({{"Host", "evil.example"}}), 403);
  EXPECT_EQ(status({{"Host", "localhost:1234"}}), 200);
  EXPECT_TRUE(is_loopback_name("[::1]:80") && is_loopback_name("127.0.0.2"));
  EXPECT_FALSE(is_loopback_name("127.evil.example") || is_loopback_name("localhost.evil.example"));
}

TEST_F(Http, AKeyIsAskedFor) {
  listen({.api_key = "secret"});
  auto asking = client();
  EXPECT_EQ(asking.Get("/health")->status, 200);
  EXPECT_EQ(asking.Get("/")->status, 200);
  for (const char* path : {"/v1/models", "/metrics", "/nothing"})
    EXPECT_EQ(asking.Get(path)->status, 401) << path;
  const std::string body = R"({"prompt": "x", "max_tokens": 1})";
  const auto status = [&](const std::string& authorization) {
    return asking.Post(kTextPath, {{"Authorization", authorization}}, body, "application/json")
        ->status;
  };
  for (const char* wrong :
       {"", "Bearer", "Bearer secre", "Bearer secret2", "secret", "Bearer xxxxxx"})
    EXPECT_EQ(status(wrong), 401) << wrong;
  EXPECT_EQ(status("Bearer secret"), 200);
  EXPECT_TRUE(same_key("", "") && same_key("ab", "ab"));
  EXPECT_FALSE(same_key("a", "") || same_key("", "a") || same_key("abab", "ab"));
}

TEST_F(Http, ManyAreTurnedAway) {
  listen({}, {.parallel = 1, .waiting = 1});
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] { post(long_text(1000)); });
    wait_for([i](const Load& load) { return load.running == 1 && load.waiting == i; });
  }
  const Json error = post(long_text(2000), 429)["error"];
  EXPECT_EQ(error["code"], "queue_full");
  EXPECT_EQ(error["type"], "rate_limit_error");
  for (std::thread& client : clients) client.join();
  post(long_text(1));
  EXPECT_EQ(server_->answering(), 0);
}

TEST_F(Http, ConnectionsAreCounted) {
  listen({.connections = 2});
  auto first = client(), second = client(), third = client();
  first.set_keep_alive(true);
  second.set_keep_alive(true);
  EXPECT_EQ(first.Get("/health")->status, 200);
  EXPECT_EQ(second.Get("/health")->status, 200);
  const auto refused = third.Get("/health");
  EXPECT_TRUE(!refused || refused->status == 503);
  EXPECT_EQ(first.Get("/health")->status, 200);
  first.stop();
  int status = 0;
  for (int i = 0; i < 200 && status != 200; ++i) {
    const auto answer = third.Get("/health");
    status = answer ? answer->status : 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(status, 200);
}

TEST_F(Http, WhoGoesAwayFreesTheirPlace) {
  listen({}, {.parallel = 2, .waiting = 4});
  // In the midst of a stream, before an answer, and while waiting for a place.
  for (int i = 0; i < 3; ++i) {
    std::vector<std::thread> clients;
    for (const bool streams : {true, false, true, false})
      clients.emplace_back([&, streams] {
        auto leaving = client();
        leaving.set_read_timeout(0, 300'000);
        httplib::Request request;
        request.method = "POST";
        request.path = kTextPath;
        Json body = long_text(8000);
        body["stream"] = streams;
        request.body = body.dump();
        request.content_receiver = [](const char*, size_t, uint64_t, uint64_t) { return false; };
        EXPECT_FALSE(leaving.send(request));
      });
    for (std::thread& client : clients) client.join();
    wait_for([](const Load& load) { return load.running == 0 && load.waiting == 0; });
    EXPECT_TRUE(disconnects(4 * (i + 1)));
  }
  EXPECT_EQ(scheduler_->load().cache_bytes, 0);
  EXPECT_LT(scheduler_->load().written_tokens, 12 * 8000);
  EXPECT_EQ(server_->answering(), 0);
}

TEST_F(Http, EndsAtOnceWhereItMust) {
  listen();
  std::thread reader([&] {
    Json body = long_text(8000);
    body["stream"] = true;
    const auto answer = client().Post(kTextPath, body.dump(), "application/json");
    EXPECT_TRUE(!answer || answer->body.find("[DONE]") == std::string::npos);
  });
  auto idle = client();
  idle.set_keep_alive(true);
  EXPECT_EQ(idle.Get("/health")->status, 200);
  wait_for([](const Load& load) { return load.running == 1; });
  const auto start = std::chrono::steady_clock::now();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  reader.join();
}

}  // namespace
}  // namespace watersic
