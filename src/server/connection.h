// A client's connection, as cpp-httplib reads and writes it: with limits on time and on what stands
// before a body, and with an eye on whether the client is still there.
#pragma once

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <string>

namespace watersic {

struct ConnectionLimits {
  std::chrono::seconds idle{5};      // between requests
  std::chrono::seconds request{30};  // until a request has come, its body included
  std::chrono::seconds write{30};    // until a client takes something
  size_t head_bytes = size_t{64} << 10;
};

class Connection final : public httplib::Stream {
 public:
  // Takes over the socket. Once `ending` is true nothing more is read.
  Connection(socket_t socket, const ConnectionLimits& limits, const std::atomic<bool>& ending);
  // Lets the client read the last answer before the connection is gone.
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Whether another request comes before it has been idle for too long; its time begins now.
  bool wait_for_request();
  // From now on it is the body that comes.
  void begin_body() { head_ = false; }
  // Until when an answer must have been taken, however steadily the client takes it.
  void answer_within(std::chrono::seconds limit) { answer_deadline_ = Clock::now() + limit; }
  // Has the client closed it, or at least its half?
  bool is_closed() const;
  // There may be more of a request than was read.
  void close_after_answer() { closes_ = true; }
  bool closes_after_answer() const { return closes_; }

  // That of the thread's request.
  static Connection* current();

  bool is_readable() const override;
  bool is_writable() const override;
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return socket_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool wait_readable(Clock::time_point until) const;

  socket_t socket_;
  ConnectionLimits limits_;
  const std::atomic<bool>& ending_;
  std::string buffer_;
  size_t at_ = 0;  // of the buffer
  bool head_ = true, closes_ = false;
  size_t head_read_ = 0;
  Clock::time_point deadline_, answer_deadline_;
};

}  // namespace watersic
