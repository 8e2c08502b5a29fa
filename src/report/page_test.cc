#include "report/page.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "support/sample_records.h"

namespace watersic::report {
namespace {

std::string page_of(const std::vector<Json>& files) { return page(joined(files)); }

bool has(const std::string& page, const std::string& part) {
  return page.find(part) != std::string::npos;
}

// Every element that is opened is closed, in order.
void expect_balanced(const std::string& page) {
  const std::string body = page.substr(page.find("<body>"));
  std::vector<std::string> open;
  for (size_t at = body.find('<'); at != std::string::npos; at = body.find('<', at + 1)) {
    if (body.compare(at, 8, "<script>") == 0) {
      at = body.find("</script>", at);
      continue;
    }
    const size_t end = body.find('>', at);
    const bool closing = body[at + 1] == '/';
    const size_t begin = at + (closing ? 2 : 1);
    const std::string name = body.substr(begin, body.find_first_of(" >/", begin) - begin);
    if (closing) {
      ASSERT_FALSE(open.empty()) << name;
      ASSERT_EQ(open.back(), name) << body.substr(at > 200 ? at - 200 : 0, 220);
      open.pop_back();
      if (name == "body") break;
    } else if (body[end - 1] != '/') {
      open.push_back(name);
    }
  }
  EXPECT_TRUE(open.empty());
}

const char* kCharts[] = {"KL divergence by bits",
                         "KL divergence by file size",
                         "Perplexity by bits",
                         "Bits per byte by file size",
                         "Bits by layer",
                         "Gap by layer",
                         "Relative distortion by layer",
                         "Sensitivity by layer",
                         "Column rates over the model",
                         "Column rates inside each layer",
                         "Row scales t over the model",
                         "Column factors γ over the model",
                         "Error at the layers&#39; inputs",
                         "Mixing coefficients of q, k",
                         "What mixing was worth",
                         "Time by stage",
                         "Memory by stage"};

TEST(Page, ShowsEverythingThatARunHolds) {
  const std::string page =
      page_of({sample_run("watersic", 2, "a"), sample_evaluation("a", 0.0161), sample_task("a")});
  for (const char* chart : kCharts) EXPECT_TRUE(has(page, std::string("<b>") + chart)) << chart;
  EXPECT_TRUE(has(page, "<dd>0.0161<small>"));
  EXPECT_TRUE(has(page, ">hellaswag<"));
  EXPECT_TRUE(has(page, ">31.00% ± 1.20<"));
  EXPECT_TRUE(has(page, ">anatomy<"));
  EXPECT_TRUE(has(page, ">322<"));  // an outlier
  EXPECT_TRUE(has(page, "layers.2.mlp.gate_proj"));
  EXPECT_FALSE(has(page, "Not shown of this run"));
  expect_balanced(page);
}

TEST(Page, LeavesOutWhatARunDoesNotHoldAndSaysSo) {
  Json run = sample_run("watersic", 2, "a");
  for (Json& layer : run["layers"])
    for (const char* field : {"limit_bits", "gap", "sensitivity", "column_bits", "row_scales",
                              "column_factors", "capture_error", "mixing"})
      layer.erase(field);
  run.erase("stages");
  const std::string page = page_of({run});
  for (const char* chart : kCharts) {
    const bool there = std::string(chart) == "Bits by layer" ||
                       std::string(chart) == "Relative distortion by layer";
    EXPECT_EQ(has(page, std::string("<b>") + chart), there) << chart;
  }
  for (const char* reason :
       {"<li>Limit and gap: ", "<li>Sensitivity: ", "<li>Column rates: ", "<li>Row scales t: ",
        "<li>Column factors γ: ", "<li>Error at the layers&#39; inputs: ",
        "<li>Mixing coefficients: ", "<li>Time and memory by stage: ",
        "<li>Rate-distortion curves: ", "<li>Benchmarks: "})
    EXPECT_TRUE(has(page, reason)) << reason;
  expect_balanced(page);
}

// 1.5 bits a byte at a perplexity of 22.5 are ln(20) / ln(22.5) times that at one of 20.
TEST(Page, BitsPerByteStandBesideTheOriginals) {
  const std::string page = page_of({sample_run("watersic", 2, "a"), sample_evaluation("a", 2.5)});
  EXPECT_TRUE(has(page, "original 1.4433"));
  Json without = sample_evaluation("a", 2.5);
  without.erase("bits_per_byte");
  const std::string other = page_of({sample_run("watersic", 2, "a"), without});
  EXPECT_TRUE(has(other, "<b>Perplexity by file size"));
  EXPECT_FALSE(has(other, "<b>Bits per byte"));
}

TEST(Page, ALayerThatLacksWhatOthersHaveIsCounted) {
  Json run = sample_run("watersic", 2, "a");
  run["layers"][1].erase("gap");
  const std::string page = page_of({run});
  EXPECT_TRUE(has(page, "<b>Gap by layer"));
  EXPECT_TRUE(has(page, "<li>Limit and gap of 1 layer: "));
}

TEST(Page, KeptLayersAreInTheTableOnly) {
  Json run = sample_run("watersic", 2, "a");
  run["layers"].push_back({{"name", "lm_head.weight"},
                           {"rows", 64},
                           {"cols", 32},
                           {"kept", true},
                           {"bits", sample_bits(16)}});
  const std::string page = page_of({run});
  EXPECT_TRUE(has(page, "1 layer kept in 16 bits"));
  EXPECT_TRUE(has(page, ">lm_head</th>"));
  EXPECT_FALSE(has(page, "<h5>lm_head"));
}

TEST(Page, RunsWithoutLayersAndEvaluationsWithoutRuns) {
  Json run = sample_run("watersic", 2, "a");
  run.erase("layers");
  const std::string without_layers = page_of({run, sample_evaluation("a", 0.01)});
  EXPECT_TRUE(has(without_layers, "<b>KL divergence by bits"));
  EXPECT_TRUE(has(without_layers, "lists no layers"));
  expect_balanced(without_layers);

  const std::string without_runs = page_of({sample_evaluation("a", 0.01)});
  EXPECT_TRUE(has(without_runs, "no run file is among the files"));
  EXPECT_TRUE(has(without_runs, ">20.0100<"));
  EXPECT_FALSE(has(without_runs, "<figure>"));
  expect_balanced(without_runs);
}

TEST(Page, EscapesWhateverTheFilesHold) {
  const std::string evil = "<img src=x onerror=alert(1)>\"'&</script>\x01{0}";
  Json run = sample_run(evil, 2, "id" + evil), eval = sample_evaluation("id" + evil, 0.01),
       task = sample_task("id" + evil);
  for (const char* field : {"model", "output", "version"}) run[field] = evil;
  run["options"][evil] = evil;
  run["stages"][0]["stage"] = evil;
  run["layers"][0]["name"] = evil;
  run["layers"][1]["name"] = "model.layers.1." + evil;
  for (const char* field : {"model", "reference", "convention", "text_hash"}) eval[field] = evil;
  eval["kl_statistics"] = {
      {"unit", evil}, {evil, 3}, {"kl_percentiles", {{"p5", .1}, {"p10", .2}}}};
  task["task"] = evil;
  task["acc" + evil] = 0.5;
  task["groups"][0]["name"] = evil;
  Json other = run;
  other["model_id"] = "other";
  other["options"]["bits"] = 3;
  for (const auto& files : {std::vector<Json>{run, eval, task}, {run, other, eval, task}}) {
    const std::string page = page_of(files);
    EXPECT_FALSE(has(page, "<img"));
    EXPECT_FALSE(has(page, "x\x01"));
    EXPECT_EQ(page.find("</script>"), page.rfind("</script>"));
    EXPECT_FALSE(has(page, "=x onerror=alert(1)>"));
    EXPECT_TRUE(has(page, "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;&lt;/script&gt;"));
    expect_balanced(page);
  }
}

TEST(Page, NeedsNothingElse) {
  const std::string page = page_of({sample_run("watersic", 2, "a"), sample_evaluation("a", 0.01)});
  for (const char* outside : {"http:", "https:", "src=", "url(", "@import", "<link", "//cdn"})
    EXPECT_FALSE(has(page, outside)) << outside;
}

TEST(Page, IsTheSameEveryTime) {
  const std::vector<Json> files{sample_run("watersic", 2, "a"), sample_run("gptq", 2, "b"),
                                sample_evaluation("a", 0.01), sample_evaluation("b", 0.1)};
  EXPECT_EQ(page_of(files), page_of(files));
}

TEST(Page, ExtremeNumbersMakeNoBrokenCharts) {
  for (const double value : {0.0, 1e-300, -5.0, 1e300}) {
    Json run = sample_run("watersic", 2, "a"), eval = sample_evaluation("a", value);
    eval["perplexity"] = value;
    eval["reference_perplexity"] = value;
    run["totals"]["bits"]["file"] = value;
    run["totals"]["seconds"] = value;
    run["totals"]["quantized_weights"] = 0;
    run["totals"]["kept_bytes"] = 0;
    run["totals"]["file_bytes"] = 0;
    for (Json& layer : run["layers"]) {
      for (const char* field : {"gap", "limit_bits", "distortion", "relative_distortion",
                                "sensitivity", "capture_error", "seconds"})
        layer[field] = value;
      layer["column_bits"] = std::vector<double>(33, value);
      layer["row_scales"] = {-1e300, 1e300};
    }
    for (Json& stage : run["stages"]) stage["seconds"] = value;
    const std::string page = page_of({run, eval});
    for (const char* broken : {"nan%", "inf%", "nan\"", "inf\"", "nan ", "Minf", "Mnan", "-inf"})
      EXPECT_FALSE(has(page, broken)) << value << " " << broken;
    expect_balanced(page);
  }
}

}  // namespace
}  // namespace watersic::report
