// Runs the program as a user does.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <vector>

#include "support/small_checkpoint.h"

namespace watersic {

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void overwrite(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

struct Outcome {
  int code = -1;
  std::string out, err;
};

class Cli : public testing::Test {
 protected:
  Cli() : folder_(std::string("cli-") + test_name()) {}

  static const char* test_name() {
    return testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  // A path in the test's folder.
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  static std::string bundled() { return WATERSIC_SOURCE_DIR "/models/books-llama"; }

  Outcome run(const std::vector<std::string>& arguments) const { return run_by("", arguments); }
  // Behind a launcher, which is words of a shell.
  Outcome run_by(const std::string& launcher, const std::vector<std::string>& arguments,
                 const std::string& program = "'" WATERSIC_BINARY "'") const {
    std::string command = launcher + " " + program;
    for (const std::string& argument : arguments) command += " '" + argument + "'";
    command += " >'" + at(".out") + "' 2>'" + at(".err") + "'";
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status)) << command;
    return {.code = WEXITSTATUS(status), .out = contents(at(".out")), .err = contents(at(".err"))};
  }
  // Must succeed.
  Outcome good(const std::vector<std::string>& arguments) const {
    Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome;
  }
  // Must fail with one message, in which all of `parts` are found, and leave no file that was not
  // there before.
  void bad(const std::vector<std::string>& arguments,
           std::initializer_list<std::string> parts) const {
    const auto before = files();
    const Outcome outcome = run(arguments);
    const std::string shown = arguments[0] + ": " + outcome.err;
    EXPECT_EQ(outcome.code, 1) << shown;
    EXPECT_EQ(outcome.out, "") << shown;
    EXPECT_EQ(outcome.err.rfind("watersic: error: ", 0), 0U) << shown;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << shown;
    for (const std::string& part : parts)
      EXPECT_NE(outcome.err.find(part), std::string::npos) << shown << "lacks: " << part;
    EXPECT_EQ(files(), before) << shown;
  }

 private:
  // All but the captured output.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path()))
      if (!entry.path().filename().string().starts_with('.'))
        names.push_back(entry.path().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  TestFolder folder_;
};

}  // namespace watersic
