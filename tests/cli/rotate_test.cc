// A model in its principal basis, as a checkpoint and in a file.
#include "io/json.h"

#include <nlohmann/json.hpp>

#include "run.h"

namespace watersic {
namespace {

class RotateCommand : public Cli {
 protected:
  RotateCommand() {
    std::string text;
    for (int i = 0; i < 200; ++i) text += "It was the best of times, it was the worst of times.\n";
    overwrite(at("text.txt"), text);
  }
  Json against_original(const std::string& model) const {
    good({"eval", model, "--text", at("text.txt"), "--context", "64", "--reference", bundled(),
          "--json", at("eval.json"), "-q"});
    return Json::parse(contents(at("eval.json")));
  }
  std::vector<std::string> calibrated(std::vector<std::string> arguments) const {
    for (const char* more : {"--samples", "16", "--sequence-length", "64", "-q"})
      arguments.emplace_back(more);
    arguments.insert(arguments.end(), {"--calibration", at("text.txt")});
    return arguments;
  }
};

TEST_F(RotateCommand, ComputesTheSameFunction) {
  for (const std::string basis : {"principal", "stream", "heads"}) {
    good(calibrated({"rotate", bundled(), "-o", at(basis), "--basis", basis}));
    EXPECT_LT(against_original(at(basis))["kl_bits"].get<double>(), 1e-8) << basis;
    const Json config = Json::parse(contents(at(basis + "/config.json")));
    EXPECT_EQ(config["tie_word_embeddings"].get<bool>(), basis == "heads");
  }
  // Its weights are others, and in 16 bits it is still the same to within rounding.
  good(calibrated({"rotate", bundled(), "-o", at("half"), "--dtype", "f16"}));
  EXPECT_LT(against_original(at("half"))["kl_bits"].get<double>(), 1e-5);
  bad(calibrated({"rotate", bundled(), "-o", at("principal")}), {"principal", "empty folder"});
  bad({"rotate", bundled(), "-o", at("none"), "--calibration", "none"}, {"calibration"});
}

// The bundled model has one matrix for embedding and head: in the file it still has.
TEST_F(RotateCommand, AFileInAPrincipalBasisIsReadByAll) {
  good(calibrated({"quantize", bundled(), "-o", at("m.wsic"), "--bits", "3", "--basis", "principal",
                   "--coder", "pooled", "--trellis", "0", "--no-output-metric", "--allocate",
                   "uniform", "--no-mixing", "--report", at("run.json")}));
  const Json report = Json::parse(contents(at("run.json")));
  EXPECT_GT(report["totals"]["basis_bits"].get<double>(), 0.01);
  EXPECT_EQ(report["options"]["basis"], "principal");
  const double kl = against_original(at("m.wsic"))["kl_bits"].get<double>();
  EXPECT_LT(kl, 0.05);
  const Outcome inspected = good({"inspect", at("m.wsic")});
  EXPECT_NE(inspected.out.find("\nbasis "), std::string::npos) << inspected.out;
  EXPECT_EQ(inspected.out.find("lm_head"), std::string::npos) << inspected.out;
  good({"export", at("m.wsic"), "--to", "safetensors", "--dtype", "f32", "-o", at("folder"), "-q"});
  EXPECT_NEAR(against_original(at("folder"))["kl_bits"].get<double>() / kl, 1, 1e-3);
  good({"export", at("m.wsic"), "--to", "gguf", "--dtype", "f32", "-o", at("m.gguf"), "-q"});
  EXPECT_NEAR(against_original(at("m.gguf"))["kl_bits"].get<double>() / kl, 1, 1e-3);
  EXPECT_EQ(good({"sample", at("m.wsic"), "--tokens", "12", "-q"}).out,
            good({"sample", at("folder"), "--tokens", "12", "-q"}).out);
  bad({"quantize", bundled(), "-o", at("n.wsic"), "--bits", "2", "--calibration", "none", "--basis",
       "heads", "-q"},
      {"basis", "needs calibration"});
}

}  // namespace
}  // namespace watersic
