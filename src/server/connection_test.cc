#include "server/connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <thread>

namespace watersic {
namespace {

using std::chrono::seconds;

// A connection whose client is the test.
class Connections : public testing::Test {
 protected:
  void connect(const ConnectionLimits& limits) {
    connection_.reset();
    if (peer_ >= 0) ::close(peer_);
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer_ = ends[1];
    connection_ = std::make_unique<Connection>(ends[0], limits, ending_);
  }
  ~Connections() override {
    if (peer_ >= 0) ::close(peer_);
  }
  void say(const std::string& text) const {
    ASSERT_EQ(::send(peer_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Up to so many bytes, one by one as cpp-httplib reads lines.
  std::string read(size_t most) {
    std::string text;
    for (char c = 0; text.size() < most && connection_->read(&c, 1) == 1;) text += c;
    return text;
  }

  std::atomic<bool> ending_ = false;
  int peer_ = -1;
  std::unique_ptr<Connection> connection_;
};

TEST_F(Connections, WhatIsSaidIsRead) {
  connect({});
  EXPECT_EQ(Connection::current(), connection_.get());
  say("GET / HTTP/1.1\r\n");
  ASSERT_TRUE(connection_->wait_for_request());
  EXPECT_EQ(read(16), "GET / HTTP/1.1\r\n");
  EXPECT_FALSE(connection_->is_closed());
  EXPECT_EQ(connection_->write("yes", 3), 3);
  char answer[3];
  EXPECT_EQ(::recv(peer_, answer, 3, 0), 3);
  ::shutdown(peer_, SHUT_WR);
  EXPECT_TRUE(connection_->is_closed());
  connection_.reset();
  EXPECT_EQ(Connection::current(), nullptr);
}

TEST_F(Connections, AHeadIsLimitedAndABodyIsNot) {
  connect({.head_bytes = 100});
  say(std::string(150, 'x'));
  ASSERT_TRUE(connection_->wait_for_request());
  EXPECT_EQ(read(150).size(), 100U);
  connect({.head_bytes = 100});
  say(std::string(150, 'x'));
  ASSERT_TRUE(connection_->wait_for_request());
  connection_->begin_body();
  EXPECT_EQ(read(150).size(), 150U);
}

TEST_F(Connections, NothingIsWaitedForTooLong) {
  connect({.idle = seconds(0)});
  EXPECT_FALSE(connection_->wait_for_request());
  connect({.request = seconds(1)});
  say("a");
  ASSERT_TRUE(connection_->wait_for_request());
  // A byte now and then does not win time.
  std::thread drip([this] {
    for (int i = 0; i < 15; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      say("a");
    }
  });
  const size_t count = read(1000).size();
  drip.join();
  EXPECT_LT(count, 15U);
  ending_ = true;
  EXPECT_FALSE(connection_->is_readable());
}

TEST_F(Connections, AnAnswerMustBeTaken) {
  connect({});
  say("a");
  ASSERT_TRUE(connection_->wait_for_request());
  connection_->answer_within(seconds(1));
  const std::string much(1 << 20, 'x');
  ssize_t count = 0;
  while ((count = connection_->write(much.data(), much.size())) > 0) {
  }
  EXPECT_EQ(count, -1);
  connect({});
  ::close(peer_);
  peer_ = -1;
  EXPECT_EQ(connection_->write("x", 1), -1);
}

}  // namespace
}  // namespace watersic
