#include <fmt/format.h>

#include <algorithm>

#include "report/charts.h"
#include "report/numbers.h"

namespace watersic::report {

// The percentiles of each evaluation's KL as a curve. Those below 5% are rounding noise.
Html token_chart(const Study& study) {
  constexpr std::pair<const char*, const char*> kPlaces[] = {
      {"p5", "5%"},   {"p10", "10%"}, {"p25", "25%"}, {"median", "50%"},  {"p75", "75%"},
      {"p90", "90%"}, {"p95", "95%"}, {"p99", "99%"}, {"p99_9", "99.9%"}, {"maximum", "max"}};
  struct Line {
    size_t evaluation, colour;
    std::vector<Point> points;
  };
  std::vector<Line> lines;
  std::vector<double> ys;
  for (size_t i = 0; i < study.evaluations.size(); ++i) {
    const Evaluation& e = study.evaluations[i];
    Line line{.evaluation = i, .colour = kColours - 1};
    if (const auto run = study.run_of(e)) line.colour = study.series_of[*run];
    for (size_t place = 0; place < std::size(kPlaces); ++place) {
      for (const auto& [name, value] : e.kl_statistics) {
        if (name != std::string("kl_percentiles.") + kPlaces[place].first || value.value <= 0)
          continue;
        line.points.push_back({.x = static_cast<double>(place), .y = value.value});
        ys.push_back(value.value);
      }
    }
    if (line.points.size() > 1) lines.push_back(std::move(line));
  }
  if (lines.empty()) return {};

  std::vector<std::string> labels;
  for (const auto& [name, label] : kPlaces) labels.emplace_back(label);
  Plot plot(Axis::places(labels, static_cast<int>(labels.size())), axis_for(ys, 5), 280,
            "percentiles of the tokens' KL divergence", "named");
  plot.across_is("percentile of the tokens");
  const std::string unit = study.evaluations[lines[0].evaluation].kl_unit;
  Html legend;
  for (const Line& line : lines) {
    const std::string& label = study.evaluation_labels[line.evaluation];
    plot.curve(line.points, line.colour);
    for (const Point& p : line.points)
      plot.mark(p, line.colour,
                fmt::format("{}\n{} of the tokens: at most {} {}", label,
                            labels[static_cast<size_t>(p.x)], significant(p.y, 3), unit));
    plot.name(line.points.back(), label, line.colour);
    legend.add(legend_entry(label, line.colour));
  }
  return figure("How the divergence is spread over the tokens",
                "KL divergence of the tokens" + (unit.empty() ? "" : ", " + unit) +
                    (plot.y().is_logarithmic() ? "; logarithmic" : ""),
                html("<p class=\"legend\">{}</p>{}", legend, plot.html()));
}

}  // namespace watersic::report
