#include "server/http_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "server/api_error.h"
#include "server/connection.h"
#include "server/listener.h"
#include "server/page.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);  // so often it is looked who is still there
constexpr auto kQuiet = std::chrono::seconds(10);       // after that a stream says that it lives

std::string without_port(const std::string& host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// One more while it lives.
class Counted {
 public:
  explicit Counted(std::atomic<int64_t>& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int64_t>& count_;
};

}  // namespace

bool is_loopback_name(const std::string& host) {
  const std::string name = without_port(host);
  return name == "localhost" || name == "[::1]" || name == "::1" ||
         (name.starts_with("127.") && name.find_first_not_of("0123456789.") == std::string::npos);
}

bool same_key(const std::string& a, const std::string& b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^
                  static_cast<unsigned char>(b.empty() ? '\0' : b[i % b.size()]);
  return difference == 0;
}

struct HttpServer::Impl {
  Impl(Service& of, Scheduler& writes, Metrics& counts, const HttpOptions& asked);
  ~Impl();

  using Request = httplib::Request;
  using Response = httplib::Response;
  using Handled = httplib::Server::HandlerResponse;

  Handled route(const Request& request, Response& response);
  void check_client(const Request& request) const;
  void get(const Request& request, Response& response);
  void post(const Request& request, Response& response, const httplib::ContentReader& reader);
  std::string read_body(const Request& request, const httplib::ContentReader& reader) const;
  void send(Response& response, std::shared_ptr<Completion> completion);
  void refuse(Response& response, const ApiError& error) const;
  // Of a path that is known: others would be a list without an end.
  static std::string counted(const std::string& path);

  Service& service;
  Scheduler& scheduler;
  Metrics& metrics;
  HttpOptions options;
  bool loopback;
  int port = 0;
  std::atomic<int64_t> answering = 0;
  Listener listener;
  std::thread thread;
};

HttpServer::Impl::Impl(Service& of, Scheduler& writes, Metrics& counts, const HttpOptions& asked)
    : service(of),
      scheduler(writes),
      metrics(counts),
      options(asked),
      loopback(is_loopback_name(asked.host)),
      listener(asked.connections) {
  listener.set_payload_max_length(options.body_bytes);
  listener.set_pre_routing_handler(
      [this](const Request& request, Response& response) { return route(request, response); });
  for (const char* path : {"/v1/completions", "/v1/chat/completions"})
    listener.Post(
        path, [this](const Request& request, Response& response,
                     const httplib::ContentReader& reader) { post(request, response, reader); });
  // What does not come as far as route().
  listener.set_error_handler([this](const Request& /*request*/, Response& response) {
    if (!response.body.empty()) return;
    refuse(response,
           ApiError(response.status, "expected a request of HTTP/1.1 that is well-formed"));
    response.set_header("Connection", "close");
    Connection::current()->close_after_answer();
  });
  listener.set_logger([this](const Request& request, const Response& response) {
    metrics.count_answer(counted(request.path), response.status);
  });
  port = options.port == 0 ? listener.bind_to_any_port(options.host)
         : listener.bind_to_port(options.host, options.port) ? options.port
                                                             : -1;
  if (port < 0)
    throw Error(
        fmt::format("{}:{}: the server cannot listen there: is the address this machine's, "
                    "and the port free?",
                    options.host, options.port));
  thread = std::thread([this] { listener.listen_after_bind(); });
  while (!listener.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

HttpServer::Impl::~Impl() {
  listener.end();
  thread.join();
}

std::string HttpServer::Impl::counted(const std::string& path) {
  static const std::set<std::string> known = {
      "/", "/health", "/metrics", "/v1/models", "/v1/completions", "/v1/chat/completions"};
  return known.contains(path) ? path : "other";
}

void HttpServer::Impl::refuse(Response& response, const ApiError& error) const {
  response.status = error.status;
  response.set_content(error_json(error).dump(), "application/json");
  if (error.status == 401) response.set_header("WWW-Authenticate", "Bearer");
  if (error.status == 429) response.set_header("Retry-After", "1");
  // OpenAI's clients would ask again, and make it worse.
  if (error.status == 504) response.set_header("x-should-retry", "false");
}

// What a browser sends for a page of another's is refused: a page must not use a server that only
// its reader can reach.
void HttpServer::Impl::check_client(const Request& request) const {
  const std::string host = request.get_header_value("Host");
  if (loopback && !host.empty() && !is_loopback_name(host))
    throw ApiError(403,
                   "Host: expected a name of the loopback address, which the server is bound to",
                   "", "wrong_host");
  const std::string origin = request.get_header_value("Origin");
  if (!origin.empty() && origin != "http://" + host && origin != "https://" + host)
    throw ApiError(403, "Origin: expected the server's own, found another page's", "",
                   "wrong_origin");
  const bool open = request.path == "/" || request.path == "/health";
  if (options.api_key.empty() || open) return;
  const std::string authorization = request.get_header_value("Authorization");
  if (!same_key(authorization, "Bearer " + options.api_key))
    throw ApiError(401, "Authorization: expected 'Bearer KEY' with the server's key", "",
                   "invalid_api_key");
}

HttpServer::Impl::Handled HttpServer::Impl::route(const Request& request, Response& response) {
  response.set_header("X-Content-Type-Options", "nosniff");
  Connection* connection = Connection::current();
  connection->begin_body();
  const bool text = request.path == "/v1/completions" || request.path == "/v1/chat/completions";
  try {
    check_client(request);
    if (request.method == "GET" || request.method == "HEAD") {
      if (text) throw ApiError(405, "expected POST, found " + request.method);
      get(request, response);
      return Handled::Handled;
    }
    if (!text) throw ApiError(404, "there is no such path");
    if (request.method != "POST") throw ApiError(405, "expected POST");
    if (request.is_multipart_form_data())
      throw ApiError(415, "expected a body of the type application/json");
    if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding"))
      throw ApiError(411, "expected a body, and its length");
    return Handled::Unhandled;  // post() is next
  } catch (const ApiError& error) {
    refuse(response, error);
    if (request.method != "GET") {  // whose body was not read
      response.set_header("Connection", "close");
      connection->close_after_answer();
    }
    return Handled::Handled;
  }
}

void HttpServer::Impl::get(const Request& request, Response& response) {
  const auto json = [&](const std::string& text) {
    response.status = 200;
    response.set_content(text, "application/json");
  };
  const std::string models = "/v1/models";
  if (request.path == "/") {
    response.status = 200;
    response.set_header("Content-Security-Policy", kPagePolicy);
    response.set_header("Cache-Control", "no-cache");
    response.set_content(std::string(chat_page()), "text/html; charset=utf-8");
  } else if (request.path == "/health") {
    const bool draining = scheduler.draining();
    json(draining ? R"({"status":"ending"})" : R"({"status":"ok"})");
    if (draining) response.status = 503;
  } else if (request.path == "/metrics") {
    response.status = 200;
    response.set_content(metrics.text(scheduler.load()), "text/plain; version=0.0.4");
  } else if (request.path == models) {
    json(service.models());
  } else if (request.path.starts_with(models + "/")) {
    json(service.model(request.path.substr(models.size() + 1)));
  } else {
    throw ApiError(404, "there is no such path");
  }
}

// What is compressed counts as it is.
std::string HttpServer::Impl::read_body(const Request& request,
                                        const httplib::ContentReader& reader) const {
  const auto too_large = [&] {
    return ApiError(413, fmt::format("expected a body of at most {} bytes", options.body_bytes));
  };
  const std::string length = request.get_header_value("Content-Length");
  if (!length.empty() && std::strtoull(length.c_str(), nullptr, 10) > options.body_bytes)
    throw too_large();
  std::string body;
  bool fits = true;
  const bool whole = reader([&](const char* data, size_t size) {
    fits = size <= options.body_bytes - body.size();
    if (fits) body.append(data, size);
    return fits;
  });
  if (!fits) throw too_large();
  if (!whole) throw ApiError(408, "the body did not come, or not in time");
  return body;
}

void HttpServer::Impl::post(const Request& request, Response& response,
                            const httplib::ContentReader& reader) {
  Connection* connection = Connection::current();
  const Counted counted(answering);
  try {
    std::string body;
    try {
      body = read_body(request, reader);
    } catch (const ApiError&) {
      response.set_header("Connection", "close");
      connection->close_after_answer();
      throw;
    }
    // A client is still told that its answer is late.
    connection->answer_within(service.limit() + kQuiet);
    std::shared_ptr<Completion> completion =
        service.start(body, request.path == "/v1/chat/completions");
    if (completion->streams()) return send(response, std::move(completion));
    while (true) {
      if (const auto text = completion->whole(kTick)) {
        response.status = 200;
        response.set_content(*text, "application/json");
        return;
      }
      if (!connection->is_closed()) continue;
      metrics.count_disconnect();
      connection->close_after_answer();
      throw ApiError(499, "the client went away");  // nginx's number for it
    }
  } catch (const ApiError& error) {
    refuse(response, error);
  } catch (const std::exception& error) {
    refuse(response, ApiError(500, error.what()));
  }
}

void HttpServer::Impl::send(Response& response, std::shared_ptr<Completion> completion) {
  using Clock = std::chrono::steady_clock;
  response.status = 200;
  response.set_header("Cache-Control", "no-cache");
  response.set_header("X-Accel-Buffering", "no");  // proxies shall not hold it back
  auto provide = [this, completion = std::move(completion),
                  counted = std::make_shared<Counted>(answering),
                  said = Clock::now()](size_t /*offset*/, httplib::DataSink& sink) mutable {
    std::string text = completion->events(kTick);
    if (text.empty() && Clock::now() - said > kQuiet) text = ": still there\n\n";
    if (text.empty() && Connection::current()->is_closed()) {
      metrics.count_disconnect();
      return false;
    }
    if (!text.empty()) {
      said = Clock::now();
      if (!sink.write(text.data(), text.size())) {
        metrics.count_disconnect();
        return false;
      }
    }
    if (completion->done()) sink.done();
    return true;
  };
  response.set_chunked_content_provider("text/event-stream", std::move(provide));
}

HttpServer::HttpServer(Service& service, Scheduler& scheduler, Metrics& metrics,
                       const HttpOptions& options)
    : impl_(std::make_unique<Impl>(service, scheduler, metrics, options)) {}
HttpServer::~HttpServer() = default;

int HttpServer::port() const { return impl_->port; }
int64_t HttpServer::answering() const { return impl_->answering; }

}  // namespace watersic
