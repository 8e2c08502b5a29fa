// The program from end to end, on the bundled model.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/text.h"
#include "run.h"
#include "watersic/npy.h"

namespace watersic {
namespace {

const std::vector<std::string> kBits = {"bits/file", "bits/coded", "bits/side",
                                        "bits/pooled_entropy", "bits/paper_rate"};

class Program : public Cli {
 protected:
  Json json(const std::string& name) const { return Json::parse(contents(at(name))); }
  static std::string data(const std::string& name) {
    return WATERSIC_SOURCE_DIR "/tests/data/tasks/" + name;
  }
  Json questions(const std::string& model, const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {
        "eval",   model,           "--task", "multiple-choice", "--data", data("questions.jsonl"),
        "--json", at("task.json"), "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    good(arguments);
    return json("task.json");
  }
  // All fields are numbers, and finite.
  static void expect_finite(const Json& json, const std::vector<std::string>& fields) {
    for (const std::string& field : fields) {
      const Json& value = json.at(Json::json_pointer("/" + field));
      EXPECT_TRUE(value.is_number() && std::isfinite(value.get<double>())) << field;
    }
  }
};

TEST_F(Program, QuantizesAndGivesThePerplexityBack) {
  // Pooled and eight states: a tenth of the time; classes and more states are in the pinned
  // results.
  good({"sample", bundled(), "--seed", "2", "--tokens", "2000", "-q"});
  overwrite(at("text.txt"), contents(at(".out")));
  const Outcome quantized = good({"quantize", bundled(), "-o", at("m.wsic"), "--bits", "2",
                                  "--samples", "8", "--coder", "pooled", "--trellis", "8",
                                  "--no-mixing", "--threads", "2", "--report", at("run.json")});
  // Results on stdout, progress on stderr.
  EXPECT_NE(quantized.out.find("bits a weight"), std::string::npos) << quantized.out;
  EXPECT_NE(quantized.out.find("m.wsic"), std::string::npos) << quantized.out;
  EXPECT_NE(quantized.err.find("block 5"), std::string::npos) << quantized.err;
  EXPECT_EQ(quantized.out.find("block"), std::string::npos) << quantized.out;

  const Json run = json("run.json");
  EXPECT_EQ(run["schema"], "watersic.run/1");
  EXPECT_EQ(run["layers"].size(), 42U);
  EXPECT_NEAR(run["totals"]["bits"]["file"].get<double>(), 2, 0.01);
  EXPECT_EQ(run["totals"]["file_bytes"], std::filesystem::file_size(at("m.wsic")));
  expect_finite(run["totals"], kBits);
  for (const Json& layer : run["layers"]) {
    expect_finite(layer, kBits);
    expect_finite(layer, {"distortion", "limit_bits", "gap", "dead", "seconds"});
  }
  for (const Json& stage : run["stages"]) expect_finite(stage, {"seconds", "peak_bytes"});

  const Outcome silent =
      good({"quantize", bundled(), "-o", at("one.wsic"), "--bits", "2", "--samples", "8", "--coder",
            "pooled", "--trellis", "8", "--no-mixing", "--threads", "1", "--quiet"});
  EXPECT_EQ(silent.out + silent.err, "");
  EXPECT_EQ(contents(at("m.wsic")), contents(at("one.wsic")));

  EXPECT_NE(good({"verify", at("m.wsic")}).out.find("m.wsic"), std::string::npos);
  EXPECT_NE(good({"inspect", at("m.wsic"), "--json", at("inspect.json")})
                .out.find("model.layers.5.mlp.down_proj.weight"),
            std::string::npos);
  const Json inspection = json("inspect.json");
  EXPECT_EQ(inspection["model_id"], run["model_id"]);
  EXPECT_NEAR(inspection["bits"].get<double>(), run["totals"]["bits"]["file"].get<double>(), 1e-9);

  const auto eval = [&](const std::string& model) {
    const Outcome outcome = good({"eval", model, "--text", at("text.txt"), "--reference", bundled(),
                                  "--json", at("eval.json"), "--quiet"});
    EXPECT_EQ(outcome.err, "");
    const Json result = json("eval.json");
    EXPECT_EQ(result["schema"], "watersic.eval/1");
    EXPECT_NEAR(result["kl_statistics"]["kl"]["value"].get<double>() / std::log(2),
                result["kl_bits"].get<double>(), 1e-9);
    for (const char* part : {"ln of the ratio", "99.9%", "root mean square"})
      EXPECT_NE(outcome.out.find(part), std::string::npos) << outcome.out;
    EXPECT_FALSE(result["model_id"].get<std::string>().empty());
    EXPECT_EQ(result["context"], 256);
    EXPECT_EQ(result["text_hash"].get<std::string>().size(), 16U);
    EXPECT_NE(outcome.out.find(result["text_hash"].get<std::string>()), std::string::npos);
    expect_finite(result, {"perplexity", "nll", "bits_per_byte", "tokens", "kl_bits", "top1"});
    EXPECT_NEAR(result["perplexity"].get<double>(), std::exp(result["nll"].get<double>()), 1e-6);
    return result;
  };
  const Json file = eval(at("m.wsic")), original = eval(bundled());
  EXPECT_EQ(file["model_id"], run["model_id"]);
  EXPECT_EQ(original["kl_bits"], 0);
  EXPECT_EQ(original["top1"], 1);
  EXPECT_GT(file["kl_bits"], 0.003);
  EXPECT_LT(file["kl_bits"], 0.05);
  EXPECT_GT(file["top1"], 0.6);
  EXPECT_LT(file["perplexity"], 1.15 * original["perplexity"].get<double>());

  // A file answers questions as a folder does.
  const Json answered = questions(at("m.wsic"), {"--reference", bundled()});
  EXPECT_EQ(answered["model_id"], file["model_id"]);
  EXPECT_GT(answered["agreement"]["acc"].get<double>(), 0.7);
  good({"export", at("m.wsic"), "--to", "safetensors", "-o", at("exported"), "--quiet"});
  const Json exported = eval(at("exported"));
  EXPECT_NEAR(exported["nll"].get<double>(), file["nll"].get<double>(), 2e-3);
  EXPECT_NEAR(exported["kl_bits"].get<double>(), file["kl_bits"].get<double>(), 2e-3);
  EXPECT_NE(exported["model_id"], file["model_id"]);
  EXPECT_EQ(original["text_hash"], exported["text_hash"]);
}

TEST_F(Program, BothConventionsAndWikitext) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "He was an old man who fished alone in a skiff.\n \n";
  overwrite(at("text.txt"), text);
  const auto eval = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"eval",      bundled(), "--text", at("text.txt"),
                                          "--context", "64",      "--json", at("eval.json")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    good(arguments);
    return json("eval.json");
  };
  const Json hf = eval({}), llama = eval({"--convention", "llama.cpp"}),
             wiki = eval({"--wikitext"});
  EXPECT_EQ(hf["convention"], "hf");
  EXPECT_EQ(llama["convention"], "llama.cpp");
  EXPECT_EQ(hf["tokens"].get<int>(), 63 * hf["windows"].get<int>());
  EXPECT_EQ(llama["tokens"].get<int>(), 31 * llama["windows"].get<int>());
  EXPECT_NE(hf["text_hash"], wiki["text_hash"]);
}

TEST_F(Program, AnswersQuestions) {
  const Json json = questions(bundled(), {"--picks", at("picks.csv")});
  EXPECT_EQ(json["schema"], "watersic.task/1");
  EXPECT_EQ(json["questions"], 11);
  EXPECT_EQ(json["shots"], 0);
  EXPECT_GT(json["acc"].get<double>(), 0.5);  // three books' worth of English suffices
  const std::string picks = contents(at("picks.csv"));
  EXPECT_EQ(std::count(picks.begin(), picks.end(), '\n'), 12);
  const Json limited = questions(bundled(), {"--shots", "2", "--limit", "5", "--no-bos"});
  EXPECT_EQ(limited["questions"], 5);
  EXPECT_EQ(limited["shots"], 2);
  EXPECT_EQ(limited["bos"], false);
  EXPECT_NE(limited["prompts_hash"], json["prompts_hash"]);

  const Outcome mmlu = good({"eval", bundled(), "--task", "mmlu", "--data", data("mmlu"), "-q"});
  EXPECT_NE(mmlu.out.find("\n  natural_philosophy "), std::string::npos) << mmlu.out;
  EXPECT_EQ(mmlu.out.find("acc_norm"), std::string::npos) << mmlu.out;
  const Outcome hellaswag = good({"eval", bundled(), "--task", "hellaswag", "--data",
                                  data("hellaswag_val.jsonl"), "--reference", bundled(), "-q"});
  for (const char* part : {"hellaswag, 0-shot, 10 questions", "acc_tokens", "100.00%"})
    EXPECT_NE(hellaswag.out.find(part), std::string::npos) << hellaswag.out;
  bad({"eval", bundled(), "--task", "mmlu", "--data", data("questions.bin"), "-q"},
      {"questions.bin", "dev/ and test/"});
  bad({"eval", bundled(), "--task", "hellaswag", "--data", data("arc.jsonl"), "--json",
       at("x.json"), "-q"},
      {"arc.jsonl: line 1", "activity_label"});
}

TEST_F(Program, TokenizesAsHuggingFaceDoes) {
  const std::string vector = WATERSIC_SOURCE_DIR "/tests/cli/tokenize";
  EXPECT_EQ(good({"tokenize", bundled(), "--text", vector + ".txt"}).out,
            contents(vector + ".ids"));
  const Outcome bare = good({"tokenize", bundled(), "--text", vector + ".txt", "--no-bos"});
  EXPECT_EQ("4094\n" + bare.out, contents(vector + ".ids"));
  EXPECT_EQ(bare.err, "");
}

TEST_F(Program, SamplesAreReproducibleText) {
  const Outcome first = good({"sample", bundled(), "--seed", "7", "--tokens", "300"}),
                again = good({"sample", bundled(), "--seed", "7", "--tokens", "300", "--threads",
                              "1", "--quiet"}),
                other = good({"sample", bundled(), "--seed", "8", "--tokens", "300", "--quiet"});
  EXPECT_EQ(first.out, again.out);
  EXPECT_NE(first.out, other.out);
  EXPECT_EQ(again.err, "");
  EXPECT_NE(first.err, "");
  EXPECT_EQ(find_invalid_utf8(first.out), std::string::npos);
  EXPECT_GT(first.out.size(), 600U);
}

TEST_F(Program, QuantizesALayer) {
  good({"synth", "--layer", "hard", "--rows", "256", "--cols", "128", "-o", at("layer")});
  for (const std::string method : {"watersic", "huffman-gptq", "huffman-rtn", "gptq", "rtn"}) {
    const Outcome outcome =
        good({"layer", "--weights", at("layer/W.npy"), "--covariance", at("layer/S.npy"), "--bits",
              "3", "--method", method, "--json", at("out.json"), "--dequantized", at("V.npy")});
    EXPECT_EQ(outcome.err, "") << method;
    EXPECT_NE(outcome.out.find("distortion"), std::string::npos) << outcome.out;
    const Json result = json("out.json");
    EXPECT_EQ(result["schema"], "watersic.layer/1");
    EXPECT_FALSE(result["model_id"].get<std::string>().empty());
    EXPECT_EQ(result["method"], method);
    expect_finite(result, kBits);
    expect_finite(result, {"distortion", "limit_bits", "gap", "dead", "seconds"});
    const double file = result["bits"]["file"].get<double>(),
                 coded = result["bits"]["coded"].get<double>();
    EXPECT_NEAR(file, coded + result["bits"]["side"].get<double>(), 1e-12);
    EXPECT_NEAR(result["gap"].get<double>(), coded - result["limit_bits"].get<double>(), 1e-12);
    if (method != "gptq" && method != "rtn") {
      EXPECT_NEAR(file, 3, 0.003) << method;
    }

    // The distortion is that of the matrix written.
    const auto W = read_npy<double>(at("layer/W.npy")), V = read_npy<double>(at("V.npy")),
               S = read_npy<double>(at("layer/S.npy"));
    ASSERT_EQ(V.rows(), 256);
    ASSERT_EQ(V.cols(), 128);
    double distortion = 0;
    for (int64_t k = 0; k < 256; ++k)
      for (int64_t i = 0; i < 128; ++i)
        for (int64_t j = 0; j < 128; ++j)
          distortion += (W(k, i) - V(k, i)) * S(i, j) * (W(k, j) - V(k, j)) / (256 * 128);
    EXPECT_NEAR(result["distortion"].get<double>(), distortion, 1e-6 * distortion) << method;
  }
}

TEST_F(Program, SynthesizesLayersReproducibly) {
  for (const char* folder : {"a", "b"})
    good({"synth", "--layer", "powerlaw", "--rows", "32", "--cols", "16", "--seed", "5", "-o",
          at(folder)});
  good({"synth", "--layer", "powerlaw", "--rows", "32", "--cols", "16", "-o", at("c")});
  EXPECT_EQ(contents(at("a/W.npy")), contents(at("b/W.npy")));
  EXPECT_EQ(contents(at("a/S.npy")), contents(at("b/S.npy")));
  EXPECT_NE(contents(at("a/W.npy")), contents(at("c/W.npy")));
}

}  // namespace
}  // namespace watersic
