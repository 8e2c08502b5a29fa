#include "report/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "report/html.h"
#include "report/numbers.h"

namespace watersic::report {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

// What makes two runs points of one curve: everything but the rate, and whether limits are
// reported.
Options curve_of(const Run& run) {
  Options options = run.options;
  std::erase_if(options, [](const auto& option) {
    return option.first == "bits" || option.first == "file_size" || option.first == "limits";
  });
  options.emplace_back("model", run.model);
  return options;
}

// Empty where it is not given.
std::string value_of(const Options& options, const std::string& name) {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const auto& option) { return option.first == name; });
  return found == options.end() ? "" : found->second;
}

// A few options that tell all of these apart: each the one that parts most pairs, of those the one
// with the shortest values. In alphabetical order.
std::set<std::string> telling_options(const std::vector<Options>& curves) {
  std::set<std::string> names, chosen;
  for (const Options& curve : curves)
    for (const auto& [name, value] : curve) names.insert(name);
  const auto alike = [&](const Options& a, const Options& b) {
    return std::all_of(chosen.begin(), chosen.end(), [&](const std::string& name) {
      return value_of(a, name) == value_of(b, name);
    });
  };
  while (true) {
    std::string best;
    size_t most = 0, shortest = 0;
    for (const std::string& name : names) {
      size_t parted = 0, length = 0;
      for (size_t i = 0; i < curves.size(); ++i) {
        length = std::max(length, value_of(curves[i], name).size());
        for (size_t j = 0; j < i; ++j)
          parted +=
              alike(curves[i], curves[j]) && value_of(curves[i], name) != value_of(curves[j], name);
      }
      if (parted > most || (parted == most && most > 0 && length < shortest)) {
        best = name;
        most = parted;
        shortest = length;
      }
    }
    if (most == 0) return chosen;
    chosen.insert(best);
  }
}

// ", trellis 0", ", no rescalers", ", samples 4": short for a legend. Nothing for what is not
// given.
std::string said(const std::string& name, const std::string& value) {
  constexpr size_t kMost = 24;
  const size_t dot = name.rfind('.');
  std::string last = dot == std::string::npos ? name : name.substr(dot + 1);
  std::replace(last.begin(), last.end(), '_', ' ');
  if (value.empty()) return "";
  if (name == "model" || name == "calibration.file") return ", " + base_name(value);
  if (value == "true") return ", " + last;
  if (value == "false") return ", no " + last;
  return ", " + last + " " +
         (value.size() > kMost ? std::string(head_of(value, kMost)) + "…" : value);
}

// The project's own method first, then the baselines, so that a method has the same colour on every
// page; then methods as they come.
size_t rank_of(const std::string& method) {
  const char* kOrder[] = {"watersic", "huffman-gptq", "gptq", "huffman-rtn", "rtn"};
  return static_cast<size_t>(std::find(std::begin(kOrder), std::end(kOrder), method) -
                             std::begin(kOrder));
}

// By curve, then by rising bits.
void sort_runs(std::vector<Run>& runs) {
  std::vector<Options> curves;
  std::vector<std::tuple<size_t, size_t, double, size_t>> keys;
  for (const Run& run : runs) {
    const Options curve = curve_of(run);
    const auto found = std::find(curves.begin(), curves.end(), curve);
    keys.emplace_back(rank_of(run.method), found - curves.begin(), run.bits.file, keys.size());
    if (found == curves.end()) curves.push_back(curve);
  }
  std::sort(keys.begin(), keys.end());
  std::vector<Run> sorted;
  for (const auto& key : keys) sorted.push_back(std::move(runs[std::get<3>(key)]));
  runs = std::move(sorted);
}

void join_series(Study& study) {
  std::vector<Options> curves;
  for (size_t i = 0; i < study.runs.size(); ++i) {
    const Options curve = curve_of(study.runs[i]);
    const auto found = std::find(curves.begin(), curves.end(), curve);
    study.series_of.push_back(static_cast<size_t>(found - curves.begin()));
    if (found == curves.end()) {
      curves.push_back(curve);
      study.series.push_back({.name = study.runs[i].method});
    }
    study.series[study.series_of[i]].runs.push_back(i);
  }
  for (size_t s = 0; s < curves.size(); ++s) {
    std::vector<Options> alike;
    for (const Options& other : curves)
      if (value_of(other, "method") == value_of(curves[s], "method")) alike.push_back(other);
    for (const std::string& name : telling_options(alike))
      study.series[s].name += said(name, value_of(curves[s], name));
  }
}

void label_runs(Study& study) {
  for (size_t i = 0; i < study.runs.size(); ++i) {
    study.labels.push_back(study.series[study.series_of[i]].name + ", " +
                           bits_word(study.runs[i].target_bits));
  }
  // Only runs of the same options and bits, made elsewhere, could still be alike.
  const std::vector<std::string> plain_labels = study.labels;
  for (size_t i = 0; i < study.runs.size(); ++i) {
    if (std::count(plain_labels.begin(), plain_labels.end(), plain_labels[i]) > 1)
      study.labels[i] += fmt::format(" ({})", head_of(study.runs[i].model_id, 8));
  }
}

bool same_text(const Bench& bench, const Evaluation& e) {
  return bench.convention == e.convention && bench.text_hash == e.text_hash &&
         bench.context == e.context;
}

Bench& bench_of(Study& study, const Evaluation& e) {
  for (Bench& bench : study.benches)
    if (same_text(bench, e) && bench.reference_id == e.reference_id) return bench;
  study.benches.push_back({.convention = e.convention,
                           .text_hash = e.text_hash,
                           .reference = e.reference,
                           .reference_id = e.reference_id,
                           .context = e.context});
  return study.benches.back();
}

// Quantized runs are measured against it: some evaluation names it as its reference, or some run as
// the checkpoint that it began with.
bool is_original(const Study& study, const Evaluation& e) {
  return std::any_of(study.evaluations.begin(), study.evaluations.end(),
                     [&](const Evaluation& other) {
                       return !e.model_id.empty() && other.reference_id == e.model_id;
                     }) ||
         std::any_of(study.runs.begin(), study.runs.end(),
                     [&](const Run& run) { return run.model == e.model; });
}

void add_to_bench(Study& study, Bench& bench, size_t evaluation) {
  const Evaluation& e = study.evaluations[evaluation];
  if (e.reference_perplexity && !e.reference_id.empty())
    bench.original_perplexity = e.reference_perplexity;
  if (bench.reference_id.empty() ? is_original(study, e) : e.model_id == bench.reference_id)
    bench.original_perplexity = e.perplexity;
  // With a reference says more than without.
  if (const auto run = study.run_of(e))
    if (!e.reference_id.empty() || !bench.of_run.contains(*run)) bench.of_run[*run] = evaluation;
}

void join_benches(Study& study) {
  for (size_t i = 0; i < study.evaluations.size(); ++i) {
    const Evaluation& e = study.evaluations[i];
    if (e.task.empty() && !e.reference_id.empty()) add_to_bench(study, bench_of(study, e), i);
  }
  for (size_t i = 0; i < study.evaluations.size(); ++i) {
    const Evaluation& e = study.evaluations[i];
    if (!e.task.empty() || !e.reference_id.empty()) continue;
    bool found = false;
    for (Bench& bench : study.benches) {
      if (!same_text(bench, e)) continue;
      add_to_bench(study, bench, i);
      found = true;
    }
    if (!found) add_to_bench(study, bench_of(study, e), i);
  }
  std::erase_if(study.benches, [](const Bench& bench) { return bench.of_run.empty(); });
  std::stable_sort(study.benches.begin(), study.benches.end(),
                   [](const auto& a, const auto& b) { return a.of_run.size() > b.of_run.size(); });
}

void label_evaluations(Study& study) {
  std::set<std::string> evaluated;
  for (const Evaluation& e : study.evaluations) {
    evaluated.insert(e.model_id);
    std::string label;
    if (const auto run = study.run_of(e)) {
      label = study.labels[*run];
    } else {
      const bool original = is_original(study, e);
      label = base_name(e.model) + (original ? ", original" : "");
      if (!original && !study.runs.empty())
        study.notes.push_back(fmt::format(
            "{}: no run file has its model_id {}, so it is not on the curves", e.file, e.model_id));
    }
    study.evaluation_labels.push_back(label);
  }
  for (size_t run = 0; run < study.runs.size(); ++run)
    if (!evaluated.contains(study.runs[run].model_id))
      study.notes.push_back(fmt::format(
          "{}: no evaluation has its model_id {}, so its perplexity and KL are not known",
          study.runs[run].file, study.runs[run].model_id));
}

// What makes an evaluation the same as an earlier one.
auto key(const Evaluation& e) {
  return std::tie(e.model_id, e.convention, e.text_hash, e.context, e.reference_id, e.task,
                  e.shots);
}

}  // namespace

std::string base_name(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path;
  const size_t slash = path.rfind('/', end);
  return path.substr(slash == std::string::npos ? 0 : slash + 1,
                     end - (slash == std::string::npos ? 0 : slash + 1) + 1);
}

std::optional<size_t> Study::run_of(const Evaluation& e) const {
  for (size_t run = 0; run < runs.size(); ++run)
    if (runs[run].model_id == e.model_id) return run;
  return std::nullopt;
}

const Evaluation* Study::evaluation(const Bench& bench, size_t run) const {
  const auto found = bench.of_run.find(run);
  return found == bench.of_run.end() ? nullptr : &evaluations[found->second];
}

Study join(std::vector<Record> records) {
  Study study;
  const auto replaced = [&](const std::string& earlier, const std::string& later,
                            const std::string& what) {
    study.notes.push_back(
        fmt::format("{}: {} comes again in {}, which is taken", earlier, what, later));
  };
  for (Record& record : records) {
    if (auto* run = std::get_if<Run>(&record)) {
      const auto same = std::find_if(study.runs.begin(), study.runs.end(), [&](const Run& other) {
        return other.model_id == run->model_id;
      });
      if (same == study.runs.end()) {
        study.runs.push_back(std::move(*run));
      } else {
        replaced(same->file, run->file, "its model_id");
        *same = std::move(*run);
      }
    } else {
      Evaluation& e = std::get<Evaluation>(record);
      const auto same = std::find_if(study.evaluations.begin(), study.evaluations.end(),
                                     [&](const Evaluation& other) { return key(other) == key(e); });
      if (same == study.evaluations.end()) {
        study.evaluations.push_back(std::move(e));
      } else {
        replaced(same->file, e.file, "the same evaluation");
        *same = std::move(e);
      }
    }
  }
  sort_runs(study.runs);
  // As the runs stand; others first, for the original is among them.
  std::stable_sort(
      study.evaluations.begin(), study.evaluations.end(),
      [&](const Evaluation& a, const Evaluation& b) { return study.run_of(a) < study.run_of(b); });
  join_series(study);
  label_runs(study);
  join_benches(study);
  label_evaluations(study);
  return study;
}

}  // namespace watersic::report
