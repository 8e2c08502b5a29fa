// A model at many rates by many methods: a row for each, and a page with the curves.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "watersic/evaluate.h"
#include "watersic/progress.h"
#include "watersic/quantize.h"

namespace watersic {

struct SweepOptions {
  std::vector<double> bits = {1, 1.5, 2, 3, 4};
  std::vector<Method> methods = {Method::kWatersic, Method::kHuffmanGptq, Method::kGptq};
  // "METHOD:name=value,...": options of one method, as QuantizeOptions::overrides has them.
  std::vector<std::string> settings;
  QuantizeOptions quantize;  // of all rows; its bits, method, resume and windows_file are not used
  EvaluateOptions evaluate;  // its reference is not used: it is the model
  bool discard_files = false;  // delete each .wsic file when it has been evaluated
};

struct SweepRow {
  std::string method;  // "original" for the model itself
  double bits = 0;     // asked for
  double file_bits = 0, coded_bits = 0, paper_rate = 0;
  int64_t file_bytes = 0;  // of the original: of its configuration and weight files
  double perplexity = 0, bits_per_byte = 0, kl_bits = 0, top1 = 0;
  double quantize_seconds = 0, evaluate_seconds = 0;
  std::string model_id;
};

struct SweepResult {
  std::vector<SweepRow> rows;  // the original first
  int64_t found = 0;           // of them, from an earlier sweep
  // What was left out and why, a sentence each: gptq and rtn have whole numbers of bits only.
  std::vector<std::string> notes;
  std::filesystem::path csv, html;
};

// Quantizes `model_dir` in all ways and evaluates each against it on `text`. In `folder` stand, for
// each row, METHOD-BITS.wsic, .run.json and .eval.json, and at the end sweep.csv and report.html. A
// row that stands there is taken as it is, a run that was stopped is continued; what was made from
// another model, other options, another text or by another version is refused. What the rows share
// is made once: the calibration windows, and the original's evaluation; for the divergences its
// states behind the last block, four bytes for each token and hidden feature, stand in the folder
// until the sweep is done. (Its logits would be as many times more as the vocabulary is larger.)
// Throws Error.
SweepResult sweep(const std::filesystem::path& model_dir, const std::filesystem::path& text,
                  const std::filesystem::path& folder, const SweepOptions& options,
                  const ProgressFn& progress = {}, const StopFn& stop = {});

}  // namespace watersic
