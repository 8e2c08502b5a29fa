#include "report/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "report/numbers.h"
#include "report/table.h"

namespace watersic::report {
namespace {

auto with_digits(int digits) {
  return [digits](double value) { return significant(value, digits); };
}
auto with_decimals(int decimals) {
  return [decimals](double value) { return fixed(value, decimals); };
}
std::string as_percent(double share) { return percent(share, 2); }
std::string as_count(int64_t value) { return grouped(value); }

// A column that only some layers or evaluations have is there if any has.
template <class T>
struct Field {
  Table::Column column;
  std::function<std::optional<double>(const T&)> value;
  std::function<std::string(double)> form;
};

template <class T>
std::vector<Field<T>> present(std::vector<Field<T>> fields, const std::vector<T>& rows) {
  std::erase_if(fields, [&](const Field<T>& field) {
    return std::none_of(rows.begin(), rows.end(),
                        [&](const T& row) { return field.value(row).has_value(); });
  });
  return fields;
}

std::string with_error(const Estimate& estimate, int digits) {
  return significant(estimate.value, digits) +
         if_any(estimate.error, [](double e) { return " ± " + significant(e, 2); });
}

// How statistics are called; in this order, and others after them as they are called in the file.
constexpr std::pair<const char*, const char*> kStatistics[] = {
    {"kl", "mean"},
    {"kl_percentiles.maximum", "maximum"},
    {"kl_percentiles.p99_9", "99.9%"},
    {"kl_percentiles.p99", "99%"},
    {"kl_percentiles.p95", "95%"},
    {"kl_percentiles.p90", "90%"},
    {"kl_percentiles.p75", "75%"},
    {"kl_percentiles.median", "median"},
    {"kl_percentiles.p25", "25%"},
    {"kl_percentiles.p10", "10%"},
    {"kl_percentiles.p5", "5%"},
    {"kl_percentiles.p1", "1%"},
    {"kl_percentiles.p0_1", "0.1%"},
    {"kl_percentiles.minimum", "minimum"},
    {"perplexity", "PPL(Q)"},
    {"reference_perplexity", "PPL(P)"},
    {"ln_perplexity_ratio", "ln PPL(Q)/PPL(P)"},
    {"perplexity_ratio", "PPL(Q)/PPL(P)"},
    {"perplexity_difference", "PPL(Q) − PPL(P)"},
    {"correlation", "correlation"},
    {"same_top", "same top p"},
    {"delta_p", "mean Δp"},
    {"delta_p_rms", "RMS Δp"},
    {"delta_p_percentiles.maximum", "maximum"},
    {"delta_p_percentiles.p99_9", "99.9%"},
    {"delta_p_percentiles.p99", "99%"},
    {"delta_p_percentiles.p95", "95%"},
    {"delta_p_percentiles.p90", "90%"},
    {"delta_p_percentiles.p75", "75%"},
    {"delta_p_percentiles.median", "median"},
    {"delta_p_percentiles.p25", "25%"},
    {"delta_p_percentiles.p10", "10%"},
    {"delta_p_percentiles.p5", "5%"},
    {"delta_p_percentiles.p1", "1%"},
    {"delta_p_percentiles.p0_1", "0.1%"},
    {"delta_p_percentiles.minimum", "minimum"},
};

const Estimate* find(const Named& named, const std::string& name) {
  const auto found = std::find_if(named.begin(), named.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == named.end() ? nullptr : &found->second;
}

// "31.00% ± 1.20", or nothing.
void accuracy_cell(Table& table, const Named& named, const std::string& metric) {
  const Estimate* value = find(named, metric);
  if (value == nullptr) return table.none();
  table.number(value->value, percent(value->value, 2) + if_any(value->error, [](double e) {
                               return " ± " + fixed(100 * e, 2);
                             }));
}

// The statistics for which `of_table` holds, in a table with a row for each evaluation.
Html statistics_table(const Study& study, const std::function<bool(const std::string&)>& of_table) {
  std::vector<std::pair<std::string, std::string>> columns;
  std::set<std::string> known, others;
  for (const auto& [name, title] : kStatistics) {
    known.insert(name);
    const bool any = std::any_of(
        study.evaluations.begin(), study.evaluations.end(),
        [&, key = name](const Evaluation& e) { return find(e.kl_statistics, key) != nullptr; });
    if (any && of_table(name)) columns.emplace_back(name, title);
  }
  for (const Evaluation& e : study.evaluations)
    for (const auto& [name, value] : e.kl_statistics)
      if (!known.contains(name) && of_table(name)) others.insert(name);
  for (const std::string& name : others) columns.emplace_back(name, name);
  if (columns.empty()) return {};

  std::vector<Table::Column> heads{{.title = "model", .number = false}};
  for (const auto& [name, title] : columns) heads.push_back({.title = title});
  Table table(heads);
  for (size_t i = 0; i < study.evaluations.size(); ++i) {
    const Named& statistics = study.evaluations[i].kl_statistics;
    if (statistics.empty()) continue;
    table.row();
    table.text(study.evaluation_labels[i]);
    for (const auto& [name, title] : columns) {
      if (const Estimate* value = find(statistics, name)) {
        table.number(value->value, with_error(*value, value->error ? 4 : 3));
      } else {
        table.none();
      }
    }
  }
  return table.html();
}

}  // namespace

double sixteen_bit_bytes(const Run& run) {
  return static_cast<double>(run.kept_bytes) +
         2 * static_cast<double>(run.quantized_weights + run.embedding_weights);
}

Html runs_table(const Study& study) {
  const Bench* bench = study.benches.empty() ? nullptr : study.benches.data();
  Table table({{"run", "method and target", false},
               {"file", "the whole file"},
               {"bits", "a quantized weight, all side information included"},
               {"bits, all", "the whole file's bits over all its weights, kept ones included"},
               {"perplexity", ""},
               {"KL, bits", "a token, from the original to the quantized model"},
               {"same top", "share of tokens with the original's most likely next token"},
               {"time", "to quantize"}});
  const auto original = std::find_if(study.runs.begin(), study.runs.end(),
                                     [](const Run& run) { return run.quantized_weights > 0; });
  if (original != study.runs.end()) {
    table.row("original");
    table.text("original, 16 bits");
    table.number(sixteen_bit_bytes(*original), bytes(sixteen_bit_bytes(*original)));
    table.number(16, "16");
    table.number(16, "16");
    table.number_if(bench ? bench->original_perplexity : std::nullopt, with_digits(5));
    for (int i = 0; i < 3; ++i) table.none();
  }
  for (size_t i = 0; i < study.runs.size(); ++i) {
    const Run& run = study.runs[i];
    const Evaluation* e = bench ? study.evaluation(*bench, i) : nullptr;
    table.row();
    table.text(legend_entry(study.labels[i], study.series_of[i]), study.labels[i]);
    table.number(static_cast<double>(run.file_bytes), bytes(static_cast<double>(run.file_bytes)));
    table.number(run.bits.file, fixed(run.bits.file, 3));
    const double weights = sixteen_bit_bytes(run) / 2;
    const double all = weights > 0 ? 8 * static_cast<double>(run.file_bytes) / weights : 0;
    table.number(all, fixed(all, 3));
    table.number_if(e ? e->perplexity : std::nullopt, with_digits(5));
    table.number_if(e ? e->kl_bits : std::nullopt, with_digits(3));
    table.number_if(e ? e->top1 : std::nullopt, as_percent);
    table.number(run.seconds, duration(run.seconds));
  }
  return table.html();
}

Html evaluations_table(const Study& study) {
  using E = Evaluation;
  std::vector<Evaluation> texts;
  for (const E& e : study.evaluations)
    if (e.task.empty()) texts.push_back(e);
  const auto fields = present<E>(
      {{{"tokens", "scored"}, [](const E& e) { return e.tokens; }, as_count},
       {{"perplexity", ""}, [](const E& e) { return e.perplexity; }, with_digits(6)},
       {{"reference's", "perplexity of the reference"},
        [](const E& e) { return e.reference_perplexity; },
        with_digits(6)},
       {{"nll, nats", "a scored token"}, [](const E& e) { return e.nll; }, with_decimals(5)},
       {{"bits a byte", ""}, [](const E& e) { return e.bits_per_byte; }, with_decimals(5)},
       {{"KL, bits", "a token, from the reference to the model"},
        [](const E& e) { return e.kl_bits; },
        with_digits(5)},
       {{"same top", ""}, [](const E& e) { return e.top1; }, as_percent},
       {{"time", ""}, [](const E& e) { return e.seconds; }, duration}},
      texts);
  std::vector<Table::Column> heads{{"model", "", false},
                                   {"text", "a hash of the text as scored", false},
                                   {"convention", "", false},
                                   {"context", "tokens in a window"}};
  for (const auto& field : fields) heads.push_back(field.column);
  Table table(heads);
  for (size_t i = 0; i < study.evaluations.size(); ++i) {
    const E& e = study.evaluations[i];
    if (!e.task.empty()) continue;
    table.row();
    table.text(study.evaluation_labels[i]);
    table.text(std::string(head_of(e.text_hash, 8)));
    table.text(e.convention);
    table.number(static_cast<double>(e.context), grouped(e.context));
    for (const auto& field : fields) table.number_if(field.value(e), field.form);
  }
  return table.empty() ? Html() : table.html();
}

Html kl_tables(const Study& study, Absences& absent) {
  const auto found = std::find_if(study.evaluations.begin(), study.evaluations.end(),
                                  [](const Evaluation& e) { return !e.kl_statistics.empty(); });
  if (found == study.evaluations.end()) {
    if (!study.evaluations.empty())
      absent.push_back("KL statistics by token: the evaluations hold no kl_statistics");
    return {};
  }
  const auto is_kl = [](const std::string& name) { return name.starts_with("kl"); };
  const auto is_delta = [](const std::string& name) { return name.starts_with("delta_p"); };
  const auto is_other = [&](const std::string& name) { return !is_kl(name) && !is_delta(name); };
  const auto titled = [](const std::string& title, const Html& table) {
    return table.empty() ? Html() : html("<h4>{}</h4>{}", title, table);
  };
  Html out;
  out.add(titled(
              "KL divergence of the tokens" + (found->kl_unit.empty() ? "" : ", " + found->kl_unit),
              statistics_table(study, is_kl)))
      .add(titled("Perplexities: P the original, Q the model", statistics_table(study, is_other)))
      .add(titled("Change of the probability of the text's own token, Δp = Q − P",
                  statistics_table(study, is_delta)));
  return out;
}

Html tasks_table(const Study& study, Absences& absent) {
  bool any = false, references = false;
  for (const Evaluation& e : study.evaluations) {
    any = any || !e.task.empty();
    references = references || !e.reference_accuracy.empty();
  }
  if (!any) {
    absent.push_back("Benchmarks: no results of tasks among the files");
    return {};
  }
  std::vector<Table::Column> heads{{"model", "", false},
                                   {"task", "", false},
                                   {"shots", "answered examples before each question"},
                                   {"questions", ""},
                                   {"metric", "", false},
                                   {"right", "share of the questions ± its standard error"}};
  if (references) {
    heads.push_back({"original right", "by the reference"});
    heads.push_back({"same answer", "share of the questions where both models agree"});
  }
  Table table(heads);
  for (size_t i = 0; i < study.evaluations.size(); ++i) {
    const Evaluation& e = study.evaluations[i];
    for (const auto& [metric, value] : e.accuracy) {
      table.row();
      table.text(study.evaluation_labels[i]);
      table.text(e.task);
      table.number_if(e.shots, as_count);
      table.number_if(e.questions, as_count);
      table.text(metric);
      accuracy_cell(table, e.accuracy, metric);
      if (!references) continue;
      accuracy_cell(table, e.reference_accuracy, metric);
      accuracy_cell(table, e.agreement, metric);
    }
  }
  return table.html();
}

Html subjects_table(const Study& study) {
  std::set<std::string> metrics;
  for (const Evaluation& e : study.evaluations)
    for (const Group& group : e.groups)
      for (const auto& [metric, value] : group.accuracy) metrics.insert(metric);
  std::vector<Table::Column> heads{
      {"model", "", false}, {"task", "", false}, {"subject", "", false}, {"questions", ""}};
  for (const std::string& metric : metrics) heads.push_back({metric, ""});
  Table table(heads);
  for (size_t i = 0; i < study.evaluations.size(); ++i) {
    const Evaluation& e = study.evaluations[i];
    for (const Group& group : e.groups) {
      table.row();
      table.text(study.evaluation_labels[i]);
      table.text(e.task);
      table.text(group.name);
      table.number_if(group.questions, as_count);
      for (const std::string& metric : metrics) accuracy_cell(table, group.accuracy, metric);
    }
  }
  return table.empty() ? Html() : table.html();
}

Html layers_table(const Run& run) {
  using L = Layer;
  std::vector<Layer> layers = run.layers;
  layers.insert(layers.end(), run.kept.begin(), run.kept.end());
  const auto fields = present<L>(
      {{{"target", "bits a weight"}, [](const L& l) { return l.target_bits; }, with_decimals(4)},
       {{"file", "bits a weight, all included"},
        [](const L& l) { return std::optional(l.bits.file); },
        with_decimals(4)},
       {{"coded", "bits a weight of the integers"},
        [](const L& l) { return std::optional(l.bits.coded); },
        with_decimals(4)},
       {{"side", "bits a weight of scales, indices, headers"},
        [](const L& l) { return std::optional(l.bits.side); },
        with_decimals(4)},
       {{"entropy", "of the integers as one source"},
        [](const L& l) { return l.bits.pooled_entropy; },
        with_decimals(4)},
       {{"paper", "the papers' count: entropy and 16 bits for each row and column"},
        [](const L& l) { return l.bits.paper_rate; },
        with_decimals(4)},
       {{"limit", "R(D)"}, [](const L& l) { return l.limit_bits; }, with_decimals(4)},
       {{"gap", "coded - limit"}, [](const L& l) { return l.gap; }, with_decimals(4)},
       {{"distortion", ""}, [](const L& l) { return l.distortion; }, with_digits(3)},
       {{"relative", "distortion over the power of the outputs"},
        [](const L& l) { return l.relative_distortion; },
        with_digits(3)},
       {{"input error", "squared, relative to the original model's input"},
        [](const L& l) { return l.capture_error; },
        with_digits(3)},
       {{"sensitivity", ""}, [](const L& l) { return l.sensitivity; }, with_digits(3)},
       {{"dead", "columns"}, [](const L& l) { return l.dead; }, as_count},
       {{"damping", "over the mean of the diagonal"}, [](const L& l) { return l.damping; }, plain},
       {{"step", "c"}, [](const L& l) { return l.step; }, with_digits(4)},
       {{"time", ""}, [](const L& l) { return l.seconds; }, duration}},
      layers);
  std::vector<Table::Column> heads{{"layer", "", false}, {"shape", "rows x columns"}};
  for (const auto& field : fields) heads.push_back(field.column);
  Table table(heads);
  for (const Layer& layer : layers) {
    table.row();
    std::string name = layer.name;
    if (name.starts_with("model.")) name.erase(0, 6);
    if (name.ends_with(".weight")) name.erase(name.size() - 7);
    table.text(name);
    table.number(static_cast<double>(layer.rows) * static_cast<double>(layer.cols),
                 fmt::format("{} × {}", layer.rows, layer.cols));
    for (const auto& field : fields) table.number_if(field.value(layer), field.form);
  }
  return table.empty() ? Html() : table.html();
}

Html outliers_table(const Run& run) {
  Table table({{"block", "", false},
               {"row", "of gate_proj and up_proj"},
               {"ratio", "of its second moment to the median"}});
  for (const Outlier& outlier : run.outliers) {
    table.row();
    table.text(std::to_string(outlier.block));
    table.number(static_cast<double>(outlier.row), std::to_string(outlier.row));
    table.number(outlier.ratio, significant(outlier.ratio, 3));
  }
  return table.empty() ? Html() : table.html();
}

Html options_list(const Run& run) {
  Html out;
  for (const auto& [name, value] : run.options)
    out.add("<div><dt>{}</dt><dd>{}</dd></div>", name, value);
  return html("<dl class=\"options\">{}</dl>", out);
}

}  // namespace watersic::report
