// `generate` as a user runs it; what it generates is tested in src/api.
#include <algorithm>

#include "io/json.h"
#include "io/text.h"
#include "run.h"

namespace watersic {
namespace {

class GenerateText : public Cli {};

TEST_F(GenerateText, GoesToStdoutAndItsSpeedToStderr) {
  const std::vector<std::string> base = {"generate",      bundled(), "--prompt",
                                         "It was a dark", "-n",      "30"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = base;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return good(arguments);
  };
  const Outcome greedy = with({"--temperature", "0"});
  EXPECT_NE(greedy.err.find("30 tokens in"), std::string::npos) << greedy.err;
  EXPECT_NE(greedy.err.find("memory: weights"), std::string::npos) << greedy.err;
  EXPECT_TRUE(greedy.out.ends_with("\n")) << greedy.out;
  EXPECT_EQ(find_invalid_utf8(greedy.out), std::string::npos);
  const Outcome quiet = with({"--temperature", "0", "-q", "--threads", "1"});
  EXPECT_EQ(quiet.out, greedy.out);
  EXPECT_EQ(quiet.err, "");
  const Outcome ids = with({"--temperature", "0", "--ids", "-q"});
  EXPECT_EQ(std::count(ids.out.begin(), ids.out.end(), '\n'), 30) << ids.out;
  EXPECT_EQ(with({"--top-k", "1", "-q"}).out, greedy.out);
  EXPECT_EQ(with({"--top-p", "0.0001", "-q"}).out, greedy.out);
  EXPECT_EQ(with({"--min-p", "1", "-q"}).out, greedy.out);
  EXPECT_FALSE(with({"-q", "--weights", "float32", "--cache", "32"}).out.empty());
  EXPECT_FALSE(with({"-q", "--cache", "8"}).out.empty());
  const Outcome sampled = with({"--seed", "2", "--temperature", "0.9", "-q"});
  EXPECT_NE(sampled.out, greedy.out);
  EXPECT_EQ(with({"--seed", "2", "--temperature", "0.9", "-q"}).out, sampled.out);

  overwrite(at("prompt.txt"), "It was a dark");
  EXPECT_EQ(
      good({"generate", bundled(), "-f", at("prompt.txt"), "-n", "30", "--temperature", "0", "-q"})
          .out,
      greedy.out);
}

TEST_F(GenerateText, ChatTemplatesGoAlongIntoOtherFormats) {
  std::filesystem::copy(bundled(), at("model"));
  overwrite(at("model/chat_template.jinja"),
            "{{ bos_token }}{% for message in messages %}\n"
            "{{ message.role }}: {{ message.content|trim }}{{ eos_token }}\n"
            "{%- endfor %}\n{% if add_generation_prompt %}It{% endif %}\n");
  const auto answer = [&](const std::string& model) {
    return good({"generate", at(model), "--chat", "--system", "Speak.", "--prompt", " Go on ",
                 "--temperature", "0", "-n", "20", "--ids", "-q"})
        .out;
  };
  const std::string expected = answer("model");
  EXPECT_FALSE(expected.empty());
  good({"export", at("model"), "--to", "gguf", "--dtype", "f32", "-o", at("m.gguf"), "-q"});
  EXPECT_EQ(answer("m.gguf"), expected);
  // All layers in 16 bits, as they are in the folder.
  good({"quantize", at("model"), "-o", at("m.wsic"), "--bits", "8", "--keep", ".", "--calibration",
        "none", "-q"});
  EXPECT_EQ(answer("m.wsic"), expected);
}

TEST_F(GenerateText, ABenchmarkPrintsATableAndWritesJson) {
  const Outcome outcome = good({"bench", bundled(), "--prompt", "16", "--tokens", "8", "--repeat",
                                "1", "--threads", "1", "--json", at("bench.json")});
  for (const char* part : {"prompt", "generation", "loading", "weights", "cache", "peak"})
    EXPECT_NE(outcome.out.find(part), std::string::npos) << outcome.out;
  const Json json = read_json(at("bench.json"));
  EXPECT_EQ(json["prompt_tokens"], 16);
  EXPECT_EQ(json["tokens"], 8);
  EXPECT_EQ(json["threads"], 1);
  EXPECT_EQ(json["weights"], "packed");
  // A checkpoint runs as it is stored, its norms in 32 bits.
  EXPECT_NEAR(json["bits_per_weight"].get<double>(), 16, 0.1);
  bad({"bench", bundled(), "--prompt", "300", "-q"}, {"256"});
}

TEST_F(GenerateText, WrongUsageAndErrors) {
  EXPECT_EQ(run({"generate", bundled()}).code, 2);
  EXPECT_EQ(run({"generate", bundled(), "--prompt", "a", "--prompt-file", "b"}).code, 2);
  EXPECT_EQ(run({"generate", bundled(), "--prompt", "a", "--system", "b"}).code, 2);
  EXPECT_EQ(run({"generate", bundled(), "--prompt", "a", "-n", "0"}).code, 2);
  EXPECT_EQ(run({"generate", bundled(), "--prompt", "a", "--cache", "4"}).code, 2);
  EXPECT_EQ(run({"generate", bundled(), "--prompt", "a", "--weights", "tiny"}).code, 2);
  bad({"generate", bundled(), "--prompt", "a", "--chat", "-q"}, {"books-llama", "chat template"});
  bad({"generate", bundled(), "--prompt", "a", "-n", "256", "-q"}, {"256"});
  bad({"generate", bundled(), "--prompt", "a", "--temperature", "-1", "-q"}, {"temperature"});
  bad({"generate", bundled(), "-f", at("absent.txt"), "-q"}, {"absent.txt"});
  bad({"generate", at("absent"), "--prompt", "a", "-q"}, {"absent"});
}

}  // namespace
}  // namespace watersic
