// Other programs' formats, as a user writes and reads them.
#include "io/json.h"

#include <nlohmann/json.hpp>

#include "run.h"

namespace watersic {
namespace {

class ExportFormats : public Cli {
 protected:
  ExportFormats() {
    for (int i = 0; i < 60; ++i) text_ += "It was the best of times, it was the worst of times.\n";
    overwrite(at("text.txt"), text_);
  }
  double nll(const std::string& model) const {
    good({"eval", model, "--text", at("text.txt"), "--context", "64", "--convention", "llama.cpp",
          "--json", at("eval.json"), "-q"});
    return Json::parse(contents(at("eval.json")))["nll"].get<double>();
  }

  std::string text_;
};

TEST_F(ExportFormats, AGgufFileIsAModelLikeAnyOther) {
  const Outcome written =
      good({"export", bundled(), "--to", "gguf", "--dtype", "f32", "-o", at("m.gguf")});
  EXPECT_EQ(written.out, "");
  EXPECT_NE(written.err.find("tensors"), std::string::npos) << written.err;
  const double original = nll(bundled());
  EXPECT_EQ(nll(at("m.gguf")), original);
  EXPECT_EQ(good({"tokenize", at("m.gguf"), "--text", at("text.txt")}).out,
            good({"tokenize", bundled(), "--text", at("text.txt")}).out);
  EXPECT_EQ(good({"sample", at("m.gguf"), "--tokens", "20", "-q"}).out,
            good({"sample", bundled(), "--tokens", "20", "-q"}).out);

  // The checkpoint is in BF16, so that BF16 loses nothing.
  good({"export", at("m.gguf"), "--to", "safetensors", "-o", at("folder"), "-q"});
  EXPECT_EQ(nll(at("folder")), original);
  good({"export", at("folder"), "--to", "gguf", "-o", at("b.gguf"), "-q"});
  EXPECT_EQ(nll(at("b.gguf")), original);
  good({"export", at("folder"), "--to", "gguf", "--dtype", "q8_0", "-o", at("q.gguf"), "-q"});
  EXPECT_NEAR(nll(at("q.gguf")), original, 0.02);
  EXPECT_NE(nll(at("q.gguf")), original);
  const std::string note = "q.gguf holds weights that were quantized before (Q8_0)";
  EXPECT_NE(good({"sample", at("q.gguf"), "--tokens", "4"}).err.find(note), std::string::npos);
  EXPECT_NE(good({"generate", at("q.gguf"), "-p", "a", "-n", "4"}).err.find(note),
            std::string::npos);
  EXPECT_EQ(good({"sample", at("q.gguf"), "--tokens", "4", "-q"}).err, "");
  const auto size = [&](const char* name) { return std::filesystem::file_size(at(name)); };
  EXPECT_LT(size("b.gguf"), size("m.gguf") * 6 / 10);
  EXPECT_LT(size("q.gguf"), size("b.gguf") * 6 / 10);
}

TEST_F(ExportFormats, WhatIsBrokenIsNamed) {
  good({"export", bundled(), "--to", "gguf", "-o", at("m.gguf"), "-q"});
  const std::string bytes = contents(at("m.gguf"));
  for (const size_t size : {bytes.size() / 2, size_t{1000}, size_t{5}}) {
    overwrite(at("short.gguf"), bytes.substr(0, size));
    bad({"eval", at("short.gguf"), "--text", at("text.txt"), "-q"}, {"short.gguf"});
    bad({"export", at("short.gguf"), "--to", "gguf", "-o", at("out.gguf"), "-q"}, {"short.gguf"});
  }
  bad({"export", bundled(), "--to", "gguf", "-o", at("absent/m.gguf"), "-q"}, {"absent/m.gguf"});
  bad({"export", at("none.gguf"), "--to", "gguf", "-o", at("out.gguf"), "-q"}, {"none.gguf"});
}

}  // namespace
}  // namespace watersic
