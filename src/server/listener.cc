#include "server/listener.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string_view>

#include "server/connection.h"

namespace watersic {
namespace {

constexpr size_t kRequestsOfAConnection = 1000;

thread_local bool refuses = false;  // the connection that the thread begins with

class ConnectionThreads final : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(int64_t count) : most_(count), threads_(static_cast<size_t>(count)) {}

  void enqueue(std::function<void()> serve) override {
    if (busy_.fetch_add(1) >= most_) {
      refuses = true;
      serve();
      refuses = false;
      --busy_;
      return;
    }
    threads_.enqueue([this, serve = std::move(serve)] {
      serve();
      --busy_;
    });
  }
  void shutdown() override { threads_.shutdown(); }

 private:
  const int64_t most_;
  std::atomic<int64_t> busy_ = 0;
  httplib::ThreadPool threads_;
};

bool refuse_connection(socket_t socket) {
  static constexpr std::string_view kAnswer =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n"
      "Retry-After: 1\r\n\r\n";
  ::send(socket, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(socket, SHUT_RDWR);
  return ::close(socket) == 0;
}

}  // namespace

Listener::Listener(int64_t connections) {
  new_task_queue = [connections] { return new ConnectionThreads(connections); };
  set_keep_alive_max_count(kRequestsOfAConnection);
  set_keep_alive_timeout(ConnectionLimits().idle.count());
  // Not SO_REUSEPORT, which httplib would set: two servers on one port would share its requests.
  set_socket_options([](socket_t socket) {
    const int on = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  });
}

void Listener::end() {
  ending_ = true;
  stop();
}

bool Listener::process_and_close_socket(socket_t socket) {
  if (refuses) return refuse_connection(socket);
  Connection connection(socket, ConnectionLimits(), ending_);
  for (size_t left = kRequestsOfAConnection; left > 0 && connection.wait_for_request(); --left) {
    bool closed = false;
    const bool last = left == 1 || ending_;
    if (!process_request(connection, last, closed, nullptr) || closed || last ||
        connection.closes_after_answer())
      break;
  }
  return true;
}

}  // namespace watersic
