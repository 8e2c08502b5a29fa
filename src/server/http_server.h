// The service on a socket: routes, keys, limits, and clients that go away.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/service.h"

namespace watersic {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 0;                 // 0: any that is free
  std::string api_key;          // empty: none is asked for
  size_t body_bytes = 1 << 20;  // of a request at most
  int64_t connections = 64;     // at once
};

class HttpServer {
 public:
  // Begins to answer. Throws Error where the address can't be had. All must outlive it.
  HttpServer(Service& service, Scheduler& scheduler, Metrics& metrics, const HttpOptions& options);
  // Ends at once: answers that are being sent are cut.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  int64_t answering() const;  // requests for texts

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether the Host header of a request to a server on the loopback address is one that leads there.
// A page of another host whose name was made to lead there has its own name in it.
bool is_loopback_name(const std::string& host);
bool same_key(const std::string& a, const std::string& b);  // in the same time, whatever differs

}  // namespace watersic
