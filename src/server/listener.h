// cpp-httplib's server, on connections of our own.
#pragma once

#include <httplib.h>

#include <atomic>
#include <cstdint>

namespace watersic {

class Listener final : public httplib::Server {
 public:
  // At most so many connections at once, each on a thread; of more, each is told so at once.
  explicit Listener(int64_t connections);
  // stop(), and idle connections need not be waited for.
  void end();

 private:
  bool process_and_close_socket(socket_t socket) override;

  std::atomic<bool> ending_ = false;
};

}  // namespace watersic
