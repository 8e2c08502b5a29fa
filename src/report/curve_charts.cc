#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "report/charts.h"
#include "report/numbers.h"
#include "report/panels.h"

namespace watersic::report {
namespace {

constexpr double kMebi = 1048576;

struct Quantity {
  std::string name, unit;
  std::function<std::optional<double>(const Evaluation&)> of;
};
struct Rate {
  std::string name, unit;
  std::function<double(const Run&)> of;
};

std::string tip_of(const Study& study, const Bench& bench, size_t run) {
  const Run& r = study.runs[run];
  const Evaluation& e = *study.evaluation(bench, run);
  std::string tip = study.labels[run];
  tip += fmt::format("\n{} bits a weight in the file", fixed(r.bits.file, 4));
  tip += "\nfile " + bytes(static_cast<double>(r.file_bytes));
  if (e.kl_bits) tip += "\nKL " + significant(*e.kl_bits, 4) + " bits a token";
  if (e.perplexity) tip += "\nperplexity " + significant(*e.perplexity, 5);
  if (bench.original_perplexity) tip += ", original " + significant(*bench.original_perplexity, 5);
  if (e.bits_per_byte) tip += "\n" + significant(*e.bits_per_byte, 5) + " bits a byte of text";
  if (e.top1) tip += "\nsame top token " + percent(*e.top1);
  return tip;
}

// Without the method where all have the same and something tells them apart besides.
std::string short_name(const Study& study, size_t series) {
  const std::string& name = study.series[series].name;
  const std::string& method = study.runs[0].method;
  const bool one = std::all_of(study.runs.begin(), study.runs.end(),
                               [&](const Run& run) { return run.method == method; });
  return one && name.size() > method.size() + 2 ? name.substr(method.size() + 2) : name;
}

// One curve for each series; empty where no run has the quantity.
Html curve_chart(const Study& study, const Bench& bench, const Rate& rate, const Quantity& quantity,
                 std::optional<double> original) {
  std::vector<double> xs, ys;
  for (const auto& [run, evaluation] : bench.of_run) {
    const auto y = quantity.of(study.evaluations[evaluation]);
    if (!y) continue;
    xs.push_back(rate.of(study.runs[run]));
    ys.push_back(*y);
  }
  if (ys.empty()) return {};
  // A single point says most on axes that begin at zero; a perplexity is held against the
  // original's.
  const bool single = ys.size() == 1;
  if (single) xs.push_back(0);
  if (single && !original) ys.push_back(0);
  if (original) ys.push_back(*original);
  const auto [least, most] = std::minmax_element(xs.begin(), xs.end());
  const Axis x = single ? Axis::linear(*least, *most, 5) : Axis::around(*least, *most, 5);
  const Axis y = axis_for(ys, single ? 3 : 5, 1.6);
  Plot plot(x, y, single ? 130 : 250, fmt::format("{} against {}", quantity.name, rate.name),
            "named");
  plot.across_is(rate.unit);
  if (original) plot.rule(*original, "original " + significant(*original, 5));
  for (size_t s = 0; s < study.series.size(); ++s) {
    std::vector<Point> points;
    for (const size_t run : study.series[s].runs) {
      const Evaluation* e = study.evaluation(bench, run);
      if (e != nullptr && quantity.of(*e))
        points.push_back({.x = rate.of(study.runs[run]), .y = *quantity.of(*e)});
    }
    if (points.empty()) continue;
    plot.curve(points, s);
    for (const size_t run : study.series[s].runs) {
      const Evaluation* e = study.evaluation(bench, run);
      if (e != nullptr && quantity.of(*e))
        plot.mark({.x = rate.of(study.runs[run]), .y = *quantity.of(*e)}, s,
                  tip_of(study, bench, run));
    }
    plot.name(points.back(), short_name(study, s), s);
  }
  return figure(fmt::format("{} by {}", quantity.name, rate.name),
                quantity.unit + (y.is_logarithmic() ? "; logarithmic" : ""), plot.html());
}

Html legend(const Study& study) {
  if (study.series.size() < 2) return {};
  Html entries;
  for (size_t s = 0; s < study.series.size(); ++s)
    entries.add(legend_entry(study.series[s].name, s));
  return html("<p class=\"legend\">{}</p>", entries);
}

std::string title_of(const Bench& bench) {
  return fmt::format("Text {}, {} convention, context {}", head_of(bench.text_hash, 8),
                     bench.convention, bench.context) +
         (bench.reference.empty() ? "" : ", against " + base_name(bench.reference));
}

// The original's bits per byte: a byte has as many tokens to it as to the quantized model, so that
// the two are as the logarithms of the perplexities.
std::optional<double> original_bits_per_byte(const Study& study, const Bench& bench) {
  if (!bench.original_perplexity || !(*bench.original_perplexity > 1)) return {};
  for (const auto& [run, evaluation] : bench.of_run) {
    const Evaluation& e = study.evaluations[evaluation];
    if (e.bits_per_byte && e.perplexity && *e.perplexity > 1)
      return *e.bits_per_byte * std::log(*bench.original_perplexity) / std::log(*e.perplexity);
  }
  return {};
}

// Bits above the limit, by bits, for each kind of layer: on one axis of each.
Html gap_charts(const Study& study) {
  struct Gap {
    size_t run;
    double bits, gap;
  };
  std::vector<std::pair<std::string, std::vector<Gap>>> kinds;
  std::vector<double> xs, ys{0};
  size_t runs = 0;
  for (size_t run = 0; run < study.runs.size(); ++run) {
    const Run& r = study.runs[run];
    bool any = false;
    for (const Kind& kind : kinds_of(r)) {
      std::vector<const Layer*> layers;
      for (const size_t i : kind.layers)
        if (r.layers[i].gap) layers.push_back(&r.layers[i]);
      if (layers.empty()) continue;
      any = true;
      const Gap gap{.run = run,
                    .bits = weighted_mean(layers, [](const Layer& l) { return l.bits.coded; }),
                    .gap = weighted_mean(layers, [](const Layer& l) { return *l.gap; })};
      auto found = std::find_if(kinds.begin(), kinds.end(),
                                [&](const auto& other) { return other.first == kind.name; });
      if (found == kinds.end()) found = kinds.insert(found, {kind.name, {}});
      found->second.push_back(gap);
      xs.push_back(gap.bits);
      ys.push_back(gap.gap);
    }
    runs += any ? 1 : 0;
  }
  if (runs < 2) return {};
  const Axis x = Axis::around(*std::min_element(xs.begin(), xs.end()),
                              *std::max_element(xs.begin(), xs.end()), 3);
  const Axis y = Axis::linear(*std::min_element(ys.begin(), ys.end()),
                              *std::max_element(ys.begin(), ys.end()), 4);
  Html all;
  for (const auto& [name, gaps] : kinds) {
    Plot plot(x, y, 110, "gap of " + name + " by coded bits", "small");
    for (size_t s = 0; s < study.series.size(); ++s) {
      std::vector<Point> points;
      for (const size_t run : study.series[s].runs)
        for (const Gap& gap : gaps)
          if (gap.run == run) points.push_back({.x = gap.bits, .y = gap.gap});
      plot.curve(points, s);
    }
    for (const Gap& gap : gaps) {
      plot.mark({.x = gap.bits, .y = gap.gap}, study.series_of[gap.run],
                fmt::format("{}\n{}: {} coded bits, {} above the limit", study.labels[gap.run],
                            name, fixed(gap.bits, 3), fixed(gap.gap, 3)));
    }
    all.add("<div class=\"panel\"><h5>{}</h5>{}</div>", name, plot.html());
  }
  return figure("Gap by kind of layer",
                "coded bits above R(D), the limit for Gaussian weights at the distortion reached, "
                "against coded bits a weight",
                html("<div class=\"panels\">{}</div>", all));
}

}  // namespace

Html curve_charts(const Study& study, Absences& absent) {
  const Quantity kl{"KL divergence", "bits a token, from the original to the quantized model",
                    [](const Evaluation& e) { return e.kl_bits; }};
  const Quantity perplexity{"Perplexity", "of the text, by the quantized model",
                            [](const Evaluation& e) { return e.perplexity; }};
  // Against the file's size it is the WaterSIC paper's figure 3.
  const Quantity bits_per_byte{"Bits per byte", "of the text, by the quantized model",
                               [](const Evaluation& e) { return e.bits_per_byte; }};
  const Rate rates[] = {{"bits", "bits a quantized weight, side information included",
                         [](const Run& run) { return run.bits.file; }},
                        {"file size", "MiB, everything in the file", [](const Run& run) {
                           return static_cast<double>(run.file_bytes) / kMebi;
                         }}};
  Html out;
  for (const Bench& bench : study.benches) {
    Html charts;
    for (const Rate& rate : rates) charts.add(curve_chart(study, bench, rate, kl, std::nullopt));
    if (charts.empty())
      absent.push_back("KL divergence: no evaluation of " + title_of(bench) +
                       " was made with a reference");
    charts.add(curve_chart(study, bench, rates[0], perplexity, bench.original_perplexity));
    const Html bytes =
        curve_chart(study, bench, rates[1], bits_per_byte, original_bits_per_byte(study, bench));
    charts.add(bytes.empty()
                   ? curve_chart(study, bench, rates[1], perplexity, bench.original_perplexity)
                   : bytes);
    out.add("<h3>{}</h3>{}<div class=\"grid2\">{}</div>\n", title_of(bench), legend(study), charts);
  }
  if (study.benches.empty() && !study.runs.empty())
    absent.push_back("Rate-distortion curves: no run was evaluated");
  if (study.runs.size() > 1) {
    const Html gaps = gap_charts(study);
    if (gaps.empty()) {
      absent.push_back("Gap by kind of layer: fewer than two runs report limits");
    } else {
      out.add(study.benches.empty() ? legend(study) : Html()).add(gaps);
    }
  }
  return out;
}

}  // namespace watersic::report
