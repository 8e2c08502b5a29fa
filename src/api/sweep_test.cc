#include "watersic/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"
#include "watersic/file.h"

namespace watersic {
namespace {

class SweepApi : public testing::Test {
 protected:
  SweepApi() : folder_("sweep") {
    ThreadPool pool;
    Json config = small_config();
    config["num_hidden_layers"] = 1;
    write_small_checkpoint(pool, folder_ / "model", 1, config);
    std::string text;
    for (int i = 0; i < 20; ++i) text += "He was an old man who fished alone in a skiff.\n";
    write_file(folder_ / "text.txt", text);
    options_.bits = {1.5, 4};
    options_.methods = {Method::kHuffmanRtn, Method::kRtn};
    options_.settings = {"huffman-rtn:coder=pooled"};
    options_.quantize.calibration.source = CalibrationOptions::Source::kNone;
    options_.quantize.limits = false;
    options_.evaluate.context = 64;
  }
  SweepResult run(const ProgressFn& progress = {}, const StopFn& stop = {}) const {
    return sweep(folder_ / "model", folder_ / "text.txt", folder_ / "out", options_, progress,
                 stop);
  }
  std::string error() const {
    try {
      run();
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }
  bool there(const std::string& name) const {
    return std::filesystem::exists(folder_ / ("out/" + name));
  }

  TestFolder folder_;
  SweepOptions options_;
};

TEST_F(SweepApi, EveryRowIsQuantizedAndEvaluatedOnce) {
  const SweepResult r = run();
  ASSERT_EQ(r.rows.size(), 4U);  // rtn has no 1.5 bits
  EXPECT_EQ(r.rows[0].method, "original");
  EXPECT_EQ(r.rows[1].method, "huffman-rtn");
  EXPECT_EQ(r.rows[1].bits, 1.5);
  EXPECT_EQ(r.rows[3].method, "rtn");
  EXPECT_EQ(r.found, 0);
  ASSERT_FALSE(r.notes.empty());
  EXPECT_NE(r.notes[0].find("rtn-1.5"), std::string::npos) << r.notes[0];
  EXPECT_FALSE(there("original.states"));
  // As each by itself.
  EvaluateOptions evaluation = options_.evaluate;
  evaluation.reference = folder_ / "model";
  const EvaluateResult alone =
      evaluate(folder_ / "out/rtn-4.wsic", folder_ / "text.txt", evaluation);
  EXPECT_EQ(r.rows[3].kl_bits, alone.kl_bits);
  EXPECT_EQ(r.rows[3].perplexity, alone.perplexity);
  EXPECT_NEAR(r.rows[1].file_bits, 1.5, 0.05);
  EXPECT_EQ(r.rows[0].kl_bits, 0);
  EXPECT_GT(r.rows[1].kl_bits, r.rows[2].kl_bits);
  EXPECT_EQ(r.rows[2].file_bytes,
            static_cast<int64_t>(std::filesystem::file_size(folder_ / "out/huffman-rtn-4.wsic")));
  const std::string csv = read_text(r.csv);
  EXPECT_EQ(std::ranges::count(csv, '\n'), 5);
  EXPECT_EQ(csv.rfind("method,bits,file_bits,", 0), 0U);
  const std::string page = read_text(r.html);
  EXPECT_NE(page.find("huffman-rtn"), std::string::npos);

  // Again: nothing is done. With another rate: its rows alone.
  options_.discard_files = true;
  const SweepResult again = run([](const ProgressEvent& event) {
    EXPECT_EQ(event.stage, "sweeping");  // no quantizing, no evaluating
  });
  EXPECT_EQ(again.found, 4);
  EXPECT_EQ(read_text(again.csv), csv);
  EXPECT_FALSE(there("rtn-4.wsic"));
  options_.bits = {4, 3};
  const SweepResult more = run();
  EXPECT_EQ(more.rows.size(), 5U);
  EXPECT_EQ(more.found, 3);
  EXPECT_TRUE(there("rtn-3.eval.json"));
  EXPECT_FALSE(there("rtn-3.wsic"));
}

TEST_F(SweepApi, GoesOnWhereItWasStopped) {
  const SweepResult whole = run();
  std::filesystem::rename(folder_ / "out", folder_ / "whole");
  int asked = 0;
  EXPECT_THROW(run({}, [&] { return ++asked > 4; }), Interrupted);
  EXPECT_FALSE(there("sweep.csv"));
  EXPECT_TRUE(there("huffman-rtn-1.5.wsic.work"));
  EXPECT_FALSE(there("original.states"));  // no row has been evaluated
  // As if it had been killed between the file and its evaluation.
  const SweepResult r = run();
  std::filesystem::remove(folder_ / "out/rtn-4.eval.json");
  const SweepResult last = run();
  EXPECT_EQ(last.found, 3);
  ASSERT_EQ(r.rows.size(), whole.rows.size());
  for (size_t i = 0; i < r.rows.size(); ++i) {
    EXPECT_EQ(r.rows[i].model_id, whole.rows[i].model_id);
    EXPECT_EQ(r.rows[i].kl_bits, whole.rows[i].kl_bits);
    EXPECT_EQ(last.rows[i].kl_bits, whole.rows[i].kl_bits);
  }
}

// The windows that the first row sampled serve the others.
TEST_F(SweepApi, CalibrationWindowsAreMadeOnce) {
  options_.bits = {4};
  CalibrationOptions& calibration = options_.quantize.calibration;
  calibration = {.source = CalibrationOptions::Source::kSelf, .samples = 2, .sequence_length = 32};
  options_.methods = {Method::kRtn, Method::kGptq};
  options_.settings = {};
  int sampled = 0;
  const SweepResult r = run([&](const ProgressEvent& event) {
    if (event.stage == "sampling calibration text" && event.done == event.total) ++sampled;
  });
  EXPECT_EQ(sampled, 1);
  QuantizeOptions alone = options_.quantize;
  alone.bits = 4;
  alone.method = Method::kGptq;
  EXPECT_EQ(quantize_model(folder_ / "model", folder_ / "alone.wsic", alone).model_id,
            r.rows[2].model_id);
  alone.windows_file = folder_ / "out/windows.json";
  alone.seed = 2;
  EXPECT_THROW(quantize_model(folder_ / "model", folder_ / "alone.wsic", alone), Error);
}

TEST_F(SweepApi, SettingsReachTheirMethod) {
  options_.bits = {4};
  options_.settings = {"rtn:group-size=32", "huffman-rtn:coder=pooled"};
  run();
  const auto option = [&](const char* run, const char* name) {
    return read_json(folder_ / run)["options"][name];
  };
  EXPECT_EQ(option("out/rtn-4.run.json", "group_size"), 32);
  EXPECT_EQ(option("out/huffman-rtn-4.run.json", "group_size"), 0);
  EXPECT_EQ(option("out/huffman-rtn-4.run.json", "coder"), "pooled");
}

TEST_F(SweepApi, WhatDoesNotBelongTogetherIsRefused) {
  options_.bits = {4};
  options_.methods = {Method::kRtn};
  options_.settings = {};
  run();
  const auto refused = [&](const std::string& part) {
    const std::string message = error();
    EXPECT_NE(message.find("another folder"), std::string::npos) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  options_.quantize.seed = 7;
  refused("seed: was 1, is 7");
  options_.quantize.seed = 1;
  options_.evaluate.context = 32;
  refused("context");
  options_.evaluate.context = 64;
  options_.settings = {"rtn:group-size=32"};
  refused("settings");
  options_.settings = {};
  std::ofstream(folder_ / "text.txt", std::ios::app) << "More.\n";
  refused("text");

  const auto wrong = [&](const std::string& setting, const std::string& part) {
    options_.settings = {setting};
    const std::string message = error();
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  wrong("rtn", "METHOD:NAME=VALUE");
  wrong("rtn:trellis", "expected name=value, found 'trellis'");
  wrong("magic:trellis=4", "magic");
  wrong("watersic:trellis=4", "the sweep does not have the method");
  wrong("rtn:bits=3", "bits");
  wrong("rtn:trellis=4", "trellis");
  options_.settings = {};
  options_.bits = {};
  EXPECT_NE(error().find("at least one rate"), std::string::npos);
}

}  // namespace
}  // namespace watersic
