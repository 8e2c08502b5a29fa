// A server as a user starts and ends it.
#include "run.h"

namespace watersic {
namespace {

using ServeCli = Cli;

TEST_F(ServeCli, ListensUntilItIsToldToEnd) {
  overwrite(at("key"), "secret\n");
  const std::string command = "'" WATERSIC_BINARY "' serve '" + bundled() +
                              "' --port 0 --api-key-file '" + at("key") + "' >'" + at("out") +
                              "' 2>'" + at("err") + "' & pid=$!\n" +
                              "for i in $(seq 600); do [ -s '" + at("out") +
                              "' ] && break; sleep 0.1; done\n"
                              "kill -TERM $pid; wait $pid";
  EXPECT_EQ(std::system(command.c_str()), 0) << contents(at("err"));
  EXPECT_EQ(contents(at("out")).rfind("http://127.0.0.1:", 0), 0U) << contents(at("out"));
  const std::string err = contents(at("err"));
  EXPECT_NE(err.find("serving books-llama at http://127.0.0.1:"), std::string::npos) << err;
  EXPECT_NE(err.find("with an API key"), std::string::npos) << err;
  EXPECT_EQ(err.find("secret"), std::string::npos) << err;
}

TEST_F(ServeCli, WhatCannotBeServedIsAnError) {
  bad({"serve", bundled(), "--api-key-file", at("none")}, {"none"});
  bad({"serve", bundled(), "--port", "0", "--context", "257"}, {"257", "256"});
  bad({"serve", bundled(), "--port", "0", "--host", "203.0.113.1", "-q"}, {"203.0.113.1"});
}

}  // namespace
}  // namespace watersic
