#include "report/records.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "support/sample_records.h"

namespace watersic::report {
namespace {

Run read_run(const Json& json) { return std::get<Run>(read_record(json, "run.json")); }
Evaluation read_evaluation(const Json& json) {
  return std::get<Evaluation>(read_record(json, "eval.json"));
}

// The record cannot be read, and the message holds all of `parts`.
void bad(const Json& json, std::initializer_list<std::string> parts) {
  try {
    read_record(json, "f.json");
    ADD_FAILURE() << "was read: " << json.dump();
  } catch (const Error& e) {
    for (const std::string& part : parts)
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos)
          << e.what() << " lacks " << part;
  }
}

Json changed(Json json, const std::string& pointer, const Json& value) {
  json[Json::json_pointer(pointer)] = value;
  return json;
}
Json without(Json json, const std::string& object, const std::string& field) {
  json[Json::json_pointer(object)].erase(field);
  return json;
}

TEST(Records, ARunIsReadWhole) {
  const auto run = read_run(sample_run("watersic", 2, "id"));
  EXPECT_EQ(run.method, "watersic");
  EXPECT_EQ(run.model_id, "id");
  EXPECT_EQ(run.target_bits, 2);
  EXPECT_EQ(run.bits.file, 2);
  EXPECT_EQ(run.stages.size(), 2U);
  EXPECT_EQ(run.stages[1].peak_bytes, 1 << 27);
  ASSERT_EQ(run.layers.size(), 9U);
  const Layer& layer = run.layers[4];
  EXPECT_EQ(layer.name, "model.layers.1.self_attn.k_proj.weight");
  EXPECT_EQ(layer.kind, "k_proj");
  EXPECT_EQ(layer.block, 1);
  EXPECT_EQ(layer.column_bits.size(), 33U);
  ASSERT_TRUE(layer.mixing);
  EXPECT_EQ(layer.mixing->points.size(), 3U);
  // What is not given (null, "") is no option.
  const std::vector<std::pair<std::string, std::string>> options = {
      {"bits", "2.0"}, {"calibration.samples", "128"}, {"method", "watersic"}};
  EXPECT_EQ(run.options, options);
}

TEST(Records, KeptLayersStandApart) {
  Json json = sample_run("watersic", 2, "id");
  json["layers"][2]["kept"] = true;
  json["layers"][3]["kept"] = false;
  const auto run = read_run(json);
  EXPECT_EQ(run.layers.size(), 8U);
  ASSERT_EQ(run.kept.size(), 1U);
  EXPECT_EQ(run.kept[0].kind, "gate_proj");
}

TEST(Records, WhatARunMayLack) {
  Json json = sample_run("watersic", 2, "id");
  for (const char* field : {"stages", "layers", "version", "output"}) json.erase(field);
  EXPECT_TRUE(read_run(json).layers.empty());
  json = sample_run("watersic", 2, "id");
  for (const char* field : {"target_bits", "limit_bits", "gap", "distortion", "relative_distortion",
                            "dead", "damping", "step", "seconds", "sensitivity", "capture_error",
                            "column_bits", "row_scales", "column_factors", "mixing"})
    json["layers"][0].erase(field);
  json["layers"][1]["gap"] = nullptr;
  json["layers"][1]["row_scales"] = Json::array();
  const auto run = read_run(json);
  EXPECT_FALSE(run.layers[0].mixing);
  EXPECT_FALSE(run.layers[0].gap);
  EXPECT_FALSE(run.layers[1].gap);
  EXPECT_TRUE(run.layers[1].row_scales.empty());
}

TEST(Records, NamesOfLayers) {
  Json json = sample_run("watersic", 2, "id");
  const auto of = [&](const std::string& name) {
    return read_run(changed(json, "/layers/0/name", name)).layers[0];
  };
  EXPECT_EQ(of("lm_head.weight").kind, "lm_head");
  EXPECT_FALSE(of("lm_head.weight").block);
  EXPECT_EQ(of("model.layers.12.mlp.experts.3.up_proj.weight").block, 12);
  EXPECT_EQ(of("model.layers.12.mlp.experts.3.up_proj.weight").kind, "up_proj");
  EXPECT_EQ(of("").kind, "");
  EXPECT_EQ(of("a..b").kind, "a..b");
  EXPECT_FALSE(of("layers.99999999999999999999.q").block);  // no number that a block could have
}

TEST(Records, AnEvaluationIsReadWhole) {
  Json json = sample_evaluation("id", 0.02);
  json["kl_statistics"] = {{"unit", "nats"},
                           {"kl", {{"value", 0.1}, {"error", 0.01}}},
                           {"correlation", 0.9},
                           {"kl_percentiles", {{"median", 0.05}}}};
  const Evaluation e = read_evaluation(json);
  EXPECT_EQ(e.kl_bits, 0.02);
  EXPECT_EQ(e.context, 256);
  EXPECT_EQ(e.kl_unit, "nats");
  ASSERT_EQ(e.kl_statistics.size(), 3U);
  EXPECT_EQ(e.kl_statistics[1].first, "kl");
  EXPECT_EQ(e.kl_statistics[1].second.error, 0.01);
  EXPECT_EQ(e.kl_statistics[2].first, "kl_percentiles.median");
}

TEST(Records, ATaskIsReadWhole) {
  const Evaluation e = read_evaluation(sample_task("id"));
  EXPECT_EQ(e.task, "hellaswag");
  EXPECT_EQ(e.questions, 1000);
  ASSERT_EQ(e.accuracy.size(), 2U);
  EXPECT_EQ(e.accuracy[1].first, "acc_norm");
  EXPECT_EQ(e.accuracy[1].second.value, 0.33);
  EXPECT_EQ(e.accuracy[1].second.error, 0.013);
  ASSERT_EQ(e.agreement.size(), 1U);
  EXPECT_FALSE(e.agreement[0].second.error);
  ASSERT_EQ(e.groups.size(), 1U);
  EXPECT_EQ(e.groups[0].name, "anatomy");
}

TEST(Records, ErrorsNameFileAndField) {
  const Json run = sample_run("watersic", 2, "id"), eval = sample_evaluation("id", 0.02);
  bad(Json::array(), {"f.json", "object"});
  bad(Json(3), {"f.json", "object"});
  bad(Json::object(), {"f.json: schema", "no such field"});
  bad({{"schema", "somebody.else/7"}}, {"f.json: schema", "watersic.run/1", "somebody.else/7"});
  bad({{"schema", 1}}, {"f.json: schema", "string"});
  bad(without(run, "", "model_id"), {"f.json: model_id"});
  bad(without(run, "", "totals"), {"f.json: totals"});
  bad(changed(run, "/totals/file_bytes", -1), {"f.json: totals: file_bytes", "-1"});
  bad(changed(run, "/totals/bits/file", "two"), {"f.json: totals: bits: file", "two"});
  bad(changed(run, "/options/method", 2), {"f.json: options: method"});
  bad(changed(run, "/layers", 2), {"f.json: layers", "array"});
  bad(changed(run, "/layers/3", 2), {"f.json: layers[3]"});
  bad(without(run, "/layers/3", "name"), {"f.json: layers[3]: name"});
  bad(changed(run, "/layers/3/rows", -5), {"f.json: layers[3]: rows"});
  bad(changed(run, "/layers/3/gap", "x"), {"f.json: layers[3]: gap"});
  bad(changed(run, "/layers/3/column_bits/7", 99), {"f.json: layers[3]: column_bits"});
  bad(changed(run, "/layers/3/column_bits/7", nullptr), {"f.json: layers[3]: column_bits"});
  bad(changed(run, "/layers/3/row_scales", {1}), {"f.json: layers[3]: row_scales"});
  bad(changed(run, "/layers/0/mixing/points/1", 4), {"f.json: layers[0]: mixing: points[1]"});
  bad(changed(run, "/outliers/0", {1}), {"f.json: outliers[0]"});
  bad(changed(run, "/stages/1/seconds", "x"), {"f.json: stages[1]: seconds"});
  bad(without(eval, "", "perplexity"), {"f.json: perplexity"});
  bad(changed(eval, "/kl_bits", "x"), {"f.json: kl_bits"});
  bad(changed(eval, "/kl_statistics", 4), {"f.json: kl_statistics"});
  bad(changed(sample_task("id"), "/acc", "x"), {"f.json: acc"});
  bad(changed(sample_task("id"), "/agreement", Json::object()), {"f.json: agreement: acc"});
  bad(changed(sample_task("id"), "/groups/0", 7), {"f.json: groups[0]"});
}

}  // namespace
}  // namespace watersic::report
