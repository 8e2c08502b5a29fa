// `report` as a user runs it. What is on the page is tested in src/report and tests/report.
#include "run.h"

namespace watersic {
namespace {

class Report : public Cli {
 protected:
  Report() {
    overwrite(at("run.json"), R"({"schema": "watersic.run/1", "model": "models/m", "model_id": "id",
      "options": {"method": "watersic", "bits": 2},
      "totals": {"bits": {"file": 2.0, "coded": 1.98, "side": 0.02}, "quantized_weights": 1000,
                 "file_bytes": 400, "kept_bytes": 100, "seconds": 1.5}})");
    overwrite(at("eval.json"), R"({"schema": "watersic.eval/1", "model": "m.wsic",
      "model_id": "id", "convention": "hf", "context": 256, "text_hash": "0123",
      "perplexity": 113.9, "reference_id": "original", "kl_bits": 0.0161})");
  }
};

TEST_F(Report, WritesOnePage) {
  const Outcome outcome = good({"report", at("eval.json"), at("run.json"), "-o", at("r.html")});
  EXPECT_EQ(outcome.out, at("r.html") + ": 1 run, 1 evaluation\n");
  EXPECT_EQ(outcome.err, "");
  const std::string page = contents(at("r.html"));
  EXPECT_EQ(page.rfind("<!DOCTYPE html>", 0), 0U);
  EXPECT_NE(page.find("0.0161"), std::string::npos);
  EXPECT_NE(page.find("113.90"), std::string::npos);
}

TEST_F(Report, SaysWhatDoesNotFitTogether) {
  const Outcome outcome = good({"report", at("run.json"), "-o", at("r.html")});
  EXPECT_NE(outcome.err.find("run.json: no evaluation has its model_id id"), std::string::npos)
      << outcome.err;
}

TEST_F(Report, WhatIsNoRunAndNoEvaluationIsAnError) {
  const std::string page = at("r.html");
  bad({"report", at("absent.json"), "-o", page}, {"absent.json"});
  overwrite(at("text.json"), "once upon a time");
  bad({"report", at("run.json"), at("text.json"), "-o", page}, {"text.json", "JSON"});
  overwrite(at("config.json"), R"({"architectures": ["LlamaForCausalLM"]})");
  bad({"report", at("config.json"), "-o", page}, {"config.json", "schema"});
  overwrite(at("other.json"), R"({"schema": "watersic.inspect/1"})");
  bad({"report", at("other.json"), "-o", page}, {"other.json", "watersic.inspect/1"});
  overwrite(at("half.json"), R"({"schema": "watersic.run/1", "model": "m"})");
  bad({"report", at("half.json"), "-o", page}, {"half.json", "options"});
  bad({"report", at("run.json"), "-o", at("no/such/folder/r.html")}, {"no/such/folder"});
}

TEST_F(Report, WrongUsageIsTwo) {
  EXPECT_EQ(run({"report", "-o", at("r.html")}).code, 2);
  EXPECT_EQ(run({"report", at("run.json")}).code, 2);
  const Outcome help = good({"report", "--help"});
  EXPECT_NE(help.out.find("Usage: watersic report"), std::string::npos);
}

}  // namespace
}  // namespace watersic
