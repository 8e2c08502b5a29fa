#include "server/connection.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace watersic {
namespace {

thread_local Connection* connection_of_thread = nullptr;

// poll() with the errors that are none.
short poll_for(socket_t socket, short events, int milliseconds) {
  pollfd entry{.fd = socket, .events = events, .revents = 0};
  const int count = ::poll(&entry, 1, milliseconds);
  return count > 0 ? entry.revents : short{0};
}

using NameFn = int (*)(int, sockaddr*, socklen_t*);
void address_of(socket_t socket, NameFn name_of_end, std::string& ip, int& port) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (name_of_end(socket, generic, &length) != 0 ||
      ::getnameinfo(generic, length, host, sizeof(host), service, sizeof(service),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

Connection::Connection(socket_t socket, const ConnectionLimits& limits,
                       const std::atomic<bool>& ending)
    : socket_(socket), limits_(limits), ending_(ending) {
  // Tokens are small and shall not wait for each other.
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  connection_of_thread = this;
}

// A socket that is closed with something unread resets the connection, and the client may lose the
// answer that says why. So what still comes is read for a while.
Connection::~Connection() {
  connection_of_thread = nullptr;
  ::shutdown(socket_, SHUT_WR);
  const auto until = Clock::now() + std::chrono::seconds(1);
  size_t left = size_t{16} << 20;
  char sink[16384];
  while (closes_ && left > 0 && !ending_ && Clock::now() < until) {
    if (poll_for(socket_, POLLIN, 50) == 0) continue;
    const ssize_t count = ::recv(socket_, sink, sizeof(sink), MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) break;
    left -= std::min(left, static_cast<size_t>(std::max<ssize_t>(count, 0)));
  }
  ::close(socket_);
}

Connection* Connection::current() { return connection_of_thread; }

bool Connection::wait_readable(Clock::time_point until) const {
  while (!ending_) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    constexpr int64_t kSlice = 200;  // to see in time that the server ends
    if (poll_for(socket_, POLLIN, static_cast<int>(std::min<int64_t>(left + 1, kSlice))) != 0)
      return true;
  }
  return false;
}

bool Connection::wait_for_request() {
  if (at_ == buffer_.size() && !wait_readable(Clock::now() + limits_.idle)) return false;
  deadline_ = Clock::now() + limits_.request;
  answer_deadline_ = Clock::time_point::max();
  head_ = true;
  head_read_ = 0;
  return true;
}

bool Connection::is_closed() const {
  return (poll_for(socket_, POLLRDHUP, 0) & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

bool Connection::is_readable() const { return at_ < buffer_.size() || wait_readable(deadline_); }

bool Connection::is_writable() const { return !is_closed(); }

ssize_t Connection::read(char* to, size_t size) {
  if (at_ == buffer_.size()) {
    constexpr size_t kBuffer = 16384;
    if (!wait_readable(deadline_)) return -1;
    buffer_.resize(kBuffer);
    at_ = 0;
    const ssize_t count = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
    buffer_.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
    if (count <= 0) return count;
  }
  const size_t count = std::min(size, buffer_.size() - at_);
  if (head_) head_read_ += count;
  if (head_ && head_read_ > limits_.head_bytes) return -1;
  std::copy_n(buffer_.data() + at_, count, to);
  at_ += count;
  return static_cast<ssize_t>(count);
}

ssize_t Connection::write(const char* from, size_t size) {
  const auto until = std::min(Clock::now() + limits_.write, answer_deadline_);
  while (Clock::now() < until) {
    const ssize_t count = ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return count;
    if (errno != EAGAIN && errno != EINTR) return -1;
    poll_for(socket_, POLLOUT, 200);
  }
  return -1;
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  address_of(socket_, ::getpeername, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  address_of(socket_, ::getsockname, ip, port);
}

}  // namespace watersic
