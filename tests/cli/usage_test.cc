// Help, wrong usage, and where output goes.
#include "run.h"

namespace watersic {
namespace {

const std::vector<std::string> kCommands = {"quantize", "eval",     "layer",  "inspect", "verify",
                                            "export",   "tokenize", "sample", "synth",   "generate",
                                            "bench",    "sweep",    "rotate", "serve"};

class Usage : public Cli {
 protected:
  void wrong(const std::vector<std::string>& arguments, const std::string& part) const {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err << "lacks: " << part;
    EXPECT_NE(outcome.err.find("--help"), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  }
};

TEST_F(Usage, HelpGoesToStdout) {
  const Outcome help = good({"--help"});
  EXPECT_EQ(help.err, "");
  for (const std::string& command : kCommands) {
    EXPECT_NE(help.out.find("\n  " + command + " "), std::string::npos) << command;
    const Outcome own = good({command, "--help"});
    EXPECT_EQ(own.err, "");
    EXPECT_NE(own.out.find("Usage: watersic " + command), std::string::npos) << own.out;
    for (const std::string& text : {help.out, own.out}) {
      // Fits a terminal of 100 columns.
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        EXPECT_LE(end - begin, 99U) << text.substr(begin, end - begin);
        begin = end + 1;
      }
    }
  }
}

TEST_F(Usage, TheVersionGoesToStdout) {
  const Outcome version = good({"--version"});
  EXPECT_EQ(version.out.rfind("watersic ", 0), 0U) << version.out;
}

TEST_F(Usage, WrongUsageIsTwo) {
  wrong({}, "subcommand");
  wrong({"conquer"}, "watersic");
  wrong({"quantize"}, "MODEL_DIR");
  wrong({"quantize", "m", "-o", "o"}, "--bits");
  wrong({"quantize", "m", "--bits", "2"}, "--output");
  wrong({"quantize", "m", "-o", "o", "--bits", "two"}, "two");
  wrong({"quantize", "m", "-o", "o", "--bits", "2", "--samples", "0"}, "--samples");
  wrong({"quantize", "m", "-o", "o", "--bits", "2", "--method", "magic"}, "magic");
  wrong({"quantize", "m", "-o", "o", "--bits", "2", "--threads", "-1"}, "--threads");
  wrong({"eval", "m"}, "--text");
  wrong({"eval", "m", "--text", "t", "--convention", "mine"}, "mine");
  wrong({"eval", "m", "--text", "t", "--task", "mmlu", "--data", "d"}, "--task");
  wrong({"eval", "m", "--task", "chess", "--data", "d"}, "chess");
  wrong({"eval", "m", "--task", "mmlu"}, "--data");
  wrong({"eval", "m", "--text", "t", "--shots", "5"}, "--task");
  wrong({"eval", "m", "--task", "mmlu", "--data", "d", "--context", "64"}, "--text");
  wrong({"eval", "m", "--task", "mmlu", "--data", "d", "--examples", "e"}, "--shots");
  wrong({"eval", "m", "--task", "mmlu", "--data", "d", "--limit", "0"}, "--limit");
  wrong({"layer", "--weights", "w", "--bits", "2"}, "--covariance");
  wrong({"layer", "--weights", "w", "--covariance", "s", "--bits", "2", "--frobnicate"},
        "--frobnicate");
  wrong({"export", "f", "-o", "d"}, "--to");
  wrong({"export", "f", "--to", "onnx", "-o", "d"}, "onnx");
  wrong({"export", "f", "--to", "gguf", "--dtype", "q2", "-o", "d"}, "q2");
  wrong({"export", "f", "--to", "safetensors", "--dtype", "q8_0", "-o", "d"}, "q8_0");
  wrong({"export", "f", "--to", "safetensors", "--pre", "qwen2", "-o", "d"}, "--pre");
  wrong({"sample"}, "MODEL");
  wrong({"serve"}, "MODEL");
  wrong({"serve", "m", "--port", "65536"}, "--port");
  wrong({"serve", "m", "--parallel", "0"}, "--parallel");
  wrong({"serve", "m", "--api-key", "a", "--api-key-file", "f"}, "--api-key");
  wrong({"synth", "-o", "d"}, "--like");
  wrong({"synth", "-o", "d", "--like", "gpt-5"}, "gpt-5");
  wrong({"synth", "-o", "d", "--layer", "white", "--layers", "2"}, "--like");
}

}  // namespace
}  // namespace watersic
