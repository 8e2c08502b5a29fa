// Standard streams that are closed or full, and signals.
#include <string>

#include "run.h"
#include "watersic/file.h"

namespace watersic {
namespace {

class Streams : public Cli {
 protected:
  // The program with these arguments and redirections, by the shell; its exit code.
  int shell(const std::string& arguments) const {
    const std::string command = "cd '" + at("") + "' && '" WATERSIC_BINARY "' " + arguments;
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string tokenize() const { return "tokenize '" + bundled() + "' --text text.txt "; }
};

TEST_F(Streams, AnOutputThatFailsIsAnError) {
  write_file(at("text.txt"), "All happy families are alike.");
  EXPECT_EQ(shell(tokenize() + ">ids"), 0);
  EXPECT_EQ(shell(tokenize() + ">/dev/full 2>err"), 1);
  EXPECT_NE(contents(at("err")).find("watersic: error: "), std::string::npos);
  EXPECT_EQ(shell(tokenize() + ">&- 2>err"), 1);
  const std::string generate = "generate '" + bundled() + "' --prompt All -n 2 -q ";
  EXPECT_EQ(shell(generate + ">/dev/full 2>err"), 1);
}

TEST_F(Streams, MessagesThatNobodyHearsStopNothing) {
  EXPECT_EQ(shell("verify none.wsic 2>&-"), 1);
  EXPECT_EQ(shell("verify none.wsic 2>/dev/full"), 1);
  // No file gets the place of stderr: it would get the messages, too.
  const std::string quantize =
      "quantize '" + bundled() + "' --method rtn --bits 4 --calibration none ";
  EXPECT_EQ(shell(quantize + "-o a.wsic 2>&- >out"), 0);
  EXPECT_EQ(shell(quantize + "-o b.wsic 2>/dev/full >out"), 0);
  EXPECT_EQ(shell("verify a.wsic >out"), 0);
  EXPECT_EQ(contents(at("a.wsic")), contents(at("b.wsic")));
}

TEST_F(Streams, ASignalEndsTheProgramWithItsNumber) {
  for (const auto& [signal, code] : {std::pair("INT", 130), {"TERM", 143}, {"HUP", 129}}) {
    const std::string command = std::string("timeout --preserve-status -s ") + signal +
                                " 0.3 '" WATERSIC_BINARY "' sample '" + bundled() +
                                "' --tokens 1000000000 -q";
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), code);
  }
}

// Weights in 16 bits are used where they lie in the file.
TEST_F(Streams, AFileThatShrinksIsNamed) {
  std::filesystem::copy(bundled(), at("model"));
  const std::string folder = "cd '" + at("") + "' && ";
  const int status =
      std::system((folder + "(sleep 0.5; truncate -s 1000 model/model.safetensors) & " + folder +
                   "'" WATERSIC_BINARY "' bench model --tokens 100 --repeat 1000000 -q 2>err")
                      .c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_NE(contents(at("err")).find("model.safetensors: became shorter"), std::string::npos)
      << contents(at("err"));
}

TEST_F(Streams, APipeIsNoFile) {
  ASSERT_EQ(std::system(("mkfifo '" + at("pipe") + "'").c_str()), 0);
  bad({"tokenize", bundled(), "--text", at("pipe")}, {"pipe: is not a regular file"});
}

// What the system says, with the file's name.
TEST_F(Streams, AFolderThatCannotBeRead) {
  std::filesystem::create_directory(at("loop"));
  std::filesystem::create_symlink("config.json", at("loop/config.json"));
  const Outcome outcome = run({"eval", at("loop"), "--text", at("none")});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err.find("filesystem error"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("loop"), std::string::npos) << outcome.err;
}

// A name may hold anything; a terminal must not obey it.
TEST_F(Streams, ControlCharactersOfNamesAreShown) {
  bad({"verify", at("\x1b]0;title\x07.wsic")}, {"\\x1b]0;title\\x07.wsic"});
}

}  // namespace
}  // namespace watersic
