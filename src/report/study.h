// The files of one report, joined: runs with their evaluations, runs that lie on one curve, texts
// on which numbers compare.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "report/records.h"

namespace watersic::report {

// Runs that differ in nothing but their bits (and the file they wrote): a curve.
struct Series {
  std::string name;  // the method, with a few options that tell it from others of that method
  std::vector<size_t> runs;
};

// Evaluations that compare: of one text under one convention, against one reference.
struct Bench {
  std::string convention, text_hash, reference, reference_id;
  int64_t context = 0;
  std::optional<double> original_perplexity;  // the reference's
  std::map<size_t, size_t> of_run;            // run to its evaluation, by their places in Study
};

struct Study {
  std::vector<Run> runs;            // by series, then by rising bits of the file
  std::vector<std::string> labels;  // of the runs: short, each another
  std::vector<size_t> series_of;    // of the runs
  std::vector<Series> series;
  std::vector<Evaluation> evaluations;
  std::vector<std::string> evaluation_labels;
  std::vector<Bench> benches;      // the one with most runs first
  std::vector<std::string> notes;  // what did not fit together, a sentence each

  std::optional<size_t> run_of(const Evaluation& e) const;
  // Null where the run was not evaluated there.
  const Evaluation* evaluation(const Bench& bench, size_t run) const;
};

// Records in the order given. A run that comes again (same model_id) is taken once, the last one;
// so is an evaluation of the same model on the same text against the same reference.
Study join(std::vector<Record> records);

// "books-llama" of "models/books-llama/".
std::string base_name(const std::string& path);

}  // namespace watersic::report
