// Runs and evaluations for tests, as the files hold them.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/json.h"
#include "report/records.h"
#include "report/study.h"

namespace watersic::report {

inline Json sample_bits(double file) {
  return {{"file", file},
          {"coded", file - 0.02},
          {"side", 0.02},
          {"pooled_entropy", file + 0.1},
          {"paper_rate", file + 0.2}};
}

// Every field that a run can hold.
inline Json sample_layer(int block, const std::string& kind, double bits) {
  const std::string part = kind == "gate_proj" ? "mlp." : "self_attn.";
  std::vector<double> rates, scales;
  for (int i = 0; i <= 32; ++i) {
    rates.push_back(bits - 0.5 + i / 32.0);
    scales.push_back(0.8 + 0.4 * i / 32.0);
  }
  return {{"name", "model.layers." + std::to_string(block) + "." + part + kind + ".weight"},
          {"rows", 256},
          {"cols", 128},
          {"bits", sample_bits(bits)},
          {"target_bits", bits},
          {"limit_bits", bits - 0.15},
          {"gap", 0.13},
          {"distortion", 1e-5 * (block + 1)},
          {"relative_distortion", 0.01 * (block + 1)},
          {"dead", 0},
          {"damping", 1e-4},
          {"step", 0.01},
          {"seconds", 0.2},
          {"sensitivity", 0.3 + block},
          {"capture_error", 0.002 * (block + 1)},
          {"column_bits", rates},
          {"row_scales", scales},
          {"column_factors", scales},
          {"mixing",
           {{"e_q", 0.25},
            {"e_a", 0.5},
            {"points",
             {{{"e_q", 0}, {"e_a", 0}, {"error", 0.02}},
              {{"e_q", 0.25}, {"e_a", 0}, {"error", 0.019}},
              {{"e_q", 0.25}, {"e_a", 0.5}, {"error", 0.0185}}}}}}};
}

inline Json sample_run(const std::string& method, double bits, const std::string& id) {
  Json run = {{"schema", "watersic.run/1"},
              {"model", "models/sample"},
              {"output", "out/" + id + ".wsic"},
              {"model_id", id},
              {"version", "0.1.0"},
              {"options",
               {{"method", method},
                {"bits", bits},
                {"trellis", nullptr},
                {"calibration", {{"samples", 128}, {"file", ""}}}}},
              {"totals",
               {{"bits", sample_bits(bits)},
                {"quantized_weights", 1 << 20},
                {"file_bytes", std::lround(bits * (1 << 17)) + 100000},
                {"kept_bytes", 90000},
                {"seconds", 12.5}}},
              {"stages",
               {{{"stage", "statistics"}, {"seconds", 4.0}, {"peak_bytes", 1 << 26}},
                {{"stage", "quantizing"}, {"seconds", 8.0}, {"peak_bytes", 1 << 27}}}},
              {"outliers", {{{"block", 1}, {"row", 17}, {"ratio", 321.5}}}},
              {"layers", Json::array()}};
  for (int block = 0; block < 3; ++block) {
    for (const char* kind : {"q_proj", "k_proj"})
      run["layers"].push_back(sample_layer(block, kind, bits));
    run["layers"].push_back(sample_layer(block, "gate_proj", bits));
    run["layers"].back().erase("mixing");
  }
  return run;
}

inline Json sample_evaluation(const std::string& id, double kl_bits,
                              const std::string& text = "0123456789abcdef") {
  return {{"schema", "watersic.eval/1"},
          {"model", "out/" + id + ".wsic"},
          {"model_id", id},
          {"reference", "models/sample"},
          {"reference_id", "original"},
          {"convention", "hf"},
          {"context", 256},
          {"windows", 4},
          {"tokens", 1020},
          {"text_hash", text},
          {"nll", 3.0},
          {"perplexity", 20.0 + kl_bits},
          {"bits_per_byte", 1.5},
          {"reference_perplexity", 20.0},
          {"kl_bits", kl_bits},
          {"top1", 0.9},
          {"seconds", 1.0}};
}

inline Json sample_task(const std::string& id) {
  return {{"schema", "watersic.task/1"},
          {"task", "hellaswag"},
          {"model", "out/" + id + ".wsic"},
          {"model_id", id},
          {"prompts_hash", "00ff"},
          {"shots", 0},
          {"questions", 1000},
          {"acc", 0.31},
          {"acc_stderr", 0.012},
          {"acc_norm", 0.33},
          {"acc_norm_stderr", 0.013},
          {"agreement", {{"acc", 0.9}}},
          {"groups", {{{"name", "anatomy"}, {"questions", 40}, {"acc", 0.25}}}}};
}

// What the files 0.json, 1.json, ... say together.
inline Study joined(const std::vector<Json>& files) {
  std::vector<Record> records;
  for (size_t i = 0; i < files.size(); ++i)
    records.push_back(read_record(files[i], std::to_string(i) + ".json"));
  return join(std::move(records));
}

}  // namespace watersic::report
