#include "report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "report/charts.h"
#include "report/html.h"
#include "report/numbers.h"
#include "report/tables.h"

namespace watersic::report {
namespace {

std::string models_of(const Study& study) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& path) {
    const std::string name = base_name(path);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const Run& run : study.runs) add(run.model);
  if (study.runs.empty())
    for (const Evaluation& e : study.evaluations) add(e.model);
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// What a page of several runs comes to, in a sentence or two.
std::string lead(const Study& study) {
  if (study.runs.empty())
    return fmt::format(
        "{} evaluations; no run file is among the files, so sizes and bits are not known.",
        study.evaluations.size());
  if (study.runs.size() == 1) {
    const Run& run = study.runs[0];
    return fmt::format("Quantized by {} to {} bits a weight: {} instead of {} in 16 bits.",
                       run.method, fixed(run.bits.file, 3),
                       bytes(static_cast<double>(run.file_bytes)), bytes(sixteen_bit_bytes(run)));
  }
  const auto [low, high] =
      std::minmax_element(study.runs.begin(), study.runs.end(),
                          [](const Run& a, const Run& b) { return a.bits.file < b.bits.file; });
  std::string out = fmt::format("{} runs, {} to {} bits a weight.", study.runs.size(),
                                fixed(low->bits.file, 2), fixed(high->bits.file, 2));
  if (study.benches.empty()) return out;
  const Bench& bench = study.benches[0];
  const Evaluation* best = nullptr;
  size_t best_run = 0;
  for (const auto& [run, evaluation] : bench.of_run) {
    const Evaluation& e = study.evaluations[evaluation];
    if (e.kl_bits && (best == nullptr || *e.kl_bits < *best->kl_bits)) {
      best = &e;
      best_run = run;
    }
  }
  if (best == nullptr) return out;
  return out +
         fmt::format(
             " Closest to the original is {} at {}: a KL divergence of {} bits a token, in {}.",
             study.series[study.series_of[best_run]].name,
             bits_word(study.runs[best_run].target_bits), significant(*best->kl_bits, 3),
             bytes(static_cast<double>(study.runs[best_run].file_bytes)));
}

Html figure_of(const std::string& name, const std::string& value, const std::string& unit,
               const std::string& remark) {
  return html("<div><dt>{}</dt><dd>{}<small>{}</small></dd><dd class=\"remark\">{}</dd></div>",
              name, value, unit, remark);
}

// The figures of a single run, large.
Html headline(const Study& study) {
  const Run& run = study.runs[0];
  const Bench* bench = study.benches.empty() ? nullptr : study.benches.data();
  const Evaluation* e = bench ? study.evaluation(*bench, 0) : nullptr;
  const std::string size = bytes(static_cast<double>(run.file_bytes));
  const size_t space = size.find("\u00A0");
  Html out;
  const double ratio =
      run.file_bytes > 0 ? sixteen_bit_bytes(run) / static_cast<double>(run.file_bytes) : 0;
  out.add(figure_of("File", size.substr(0, space), size.substr(space),
                    ratio > 0 ? fixed(ratio, 2) + " times smaller than in 16 bits" : ""));
  out.add(figure_of(
      "Bits a weight", fixed(run.bits.file, 3), "",
      fmt::format("{} coded + {} side", fixed(run.bits.coded, 3), fixed(run.bits.side, 3))));
  if (e != nullptr && e->perplexity) {
    std::string remark;
    if (bench->original_perplexity && *bench->original_perplexity > 0)
      remark =
          fmt::format("original {}, {}%", significant(*bench->original_perplexity, 5),
                      signed_fixed(100 * (*e->perplexity / *bench->original_perplexity - 1), 2));
    out.add(figure_of("Perplexity", significant(*e->perplexity, 5), "", remark));
  }
  if (e != nullptr && e->kl_bits)
    out.add(figure_of("KL divergence", significant(*e->kl_bits, 3), "\u00A0bits",
                      "a token, from the original"));
  if (e != nullptr && e->top1)
    out.add(figure_of("Same top token", fixed(100 * *e->top1, 1), "%", "as the original"));
  return html("<dl class=\"headline\">{}</dl>", out);
}

Html left_out(const Absences& absent, const std::string& title) {
  if (absent.empty()) return {};
  Html items;
  for (const std::string& line : absent) items.add("<li>{}</li>", line);
  return html("<div class=\"absent\"><h4>{}</h4><ul>{}</ul></div>", title, items);
}

Html run_section(const Study& study, size_t i) {
  const Run& run = study.runs[i];
  const size_t colour = study.series_of[i];
  Absences absent;
  Html charts;
  charts.add(layer_charts(run, colour, absent))
      .add(spread_charts(run, colour, absent))
      .add(course_charts(run, absent))
      .add(stage_charts(run, colour, absent));
  const Html table = layers_table(run), outliers = outliers_table(run);
  if (!outliers.empty())
    charts.add("<h4>Outliers in the inputs of down_proj: candidates for zero-rows</h4>{}",
               outliers);
  std::string about = run.version.empty() ? "" : ", written by watersic " + run.version;
  if (!run.kept.empty())
    about += fmt::format("; {} {} kept in 16 bits", run.kept.size(),
                         run.kept.size() == 1 ? "layer" : "layers");
  return html(
      "<section class=\"run\" id=\"run-{}\"><h3>{}</h3><p class=\"file\">{}{}</p>{}{}"
      "<details><summary>Options</summary>{}</details>{}</section>\n",
      i, legend_entry(study.labels[i], colour), run.output.empty() ? run.file : run.output, about,
      charts, left_out(absent, "Not shown of this run"), options_list(run),
      table.empty() ? Html() : html("<div class=\"wide\"><h4>Every layer</h4>{}</div>", table));
}

Html runs_part(const Study& study) {
  Html buttons, sections;
  for (size_t i = 0; i < study.runs.size(); ++i) {
    sections.add(run_section(study, i));
    buttons.add("<button type=\"button\" data-run=\"run-{}\">{}</button>", i,
                legend_entry(study.labels[i], study.series_of[i]));
  }
  if (study.runs.size() < 2) return sections;
  // Hidden until the script is there to serve it.
  return html("<div class=\"picker\" role=\"group\" aria-label=\"Run\" hidden>{}</div>{}", buttons,
              sections);
}

}  // namespace

std::string page(const Study& study) {
  Absences absent = study.notes;
  const Html curves = study.runs.empty() ? Html() : curve_charts(study, absent);
  const Html statistics = kl_tables(study, absent), subjects = subjects_table(study),
             evaluations = evaluations_table(study);
  Html tasks = tasks_table(study, absent);
  const std::string models = models_of(study);

  Html contents, body;
  const auto part = [&](const char* id, const char* title, const Html& inside) {
    if (inside.empty()) return;
    contents.add("<a href=\"#{}\">{}</a>", id, title);
    body.add("<section id=\"{}\"><h2>{}</h2>\n{}</section>\n", id, title, inside);
  };
  Html overview;
  if (study.runs.size() == 1) overview.add(headline(study));
  if (study.runs.size() > 1) overview.add(runs_table(study));
  part("overview", "At a glance", overview);
  part("curves", "Rate and distortion", curves);
  if (!subjects.empty()) tasks.add("<details><summary>By subject</summary>{}</details>", subjects);
  part("tasks", "Benchmarks", tasks);
  part("layers", "Layer by layer", study.runs.empty() ? Html() : runs_part(study));
  part("tokens", "Token by token",
       statistics.empty() ? Html() : html("{}{}", token_chart(study), statistics));
  part("evaluations", "Evaluations", evaluations);
  part("absent", "Left out", left_out(absent, "What the files do not hold"));

  Html out;
  out.add(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      // Nothing is fetched, whatever the files hold.
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}: watersic report</title>\n"
      "<style>\n",
      models);
  out.add_verbatim(style_sheet());
  out.add(
      "</style>\n</head>\n<body>\n{}<header><p class=\"kicker\">watersic report</p><h1>{}</h1>"
      "<p class=\"lead\">{}</p><nav>{}</nav></header>\n<main>\n{}</main>\n"
      "<div id=\"tip\" role=\"status\" hidden></div>\n<script>\n",
      mark_definitions(), models, lead(study), contents, body);
  out.add_verbatim(script());
  out.add("</script>\n</body>\n</html>\n");
  return out.markup();
}

}  // namespace watersic::report
