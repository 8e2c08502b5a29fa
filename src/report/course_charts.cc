#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "report/charts.h"
#include "report/numbers.h"
#include "report/panels.h"

namespace watersic::report {
namespace {

// What was measured at several layers' common input is said once: q, k and v have one.
std::string joined(const std::vector<std::string>& kinds) {
  const bool all = std::all_of(kinds.begin(), kinds.end(),
                               [](const std::string& kind) { return kind.ends_with("_proj"); });
  std::string out;
  for (const std::string& kind : kinds)
    out += (out.empty() ? "" : ", ") + (all ? kind.substr(0, kind.size() - 5) : kind);
  return out;
}

std::vector<std::string> block_labels(const Run& run) {
  for (const Kind& kind : kinds_of(run))
    if (kind.labels.size() > 1 || !kind.labels[0].empty()) return kind.labels;
  return {};
}

// Many blocks leave no room for marks; they come up when they are pointed at.
std::string line_css(size_t blocks) { return blocks > 24 ? "named crowded" : "named"; }

struct Line {
  std::vector<std::string> kinds;
  std::map<double, double> values;  // by the place of the block
};

Html errors_chart(const Run& run) {
  std::vector<Line> lines;
  std::vector<double> all;
  for (const Kind& kind : kinds_of(run)) {
    Line line{.kinds = {kind.name}};
    for (size_t i = 0; i < kind.layers.size(); ++i) {
      const Layer& layer = run.layers[kind.layers[i]];
      if (!layer.block || !layer.capture_error) continue;
      line.values[kind.places[i]] = *layer.capture_error;
      all.push_back(*layer.capture_error);
    }
    if (line.values.empty()) continue;
    const auto same = std::find_if(lines.begin(), lines.end(),
                                   [&](const Line& other) { return other.values == line.values; });
    if (same == lines.end()) {
      lines.push_back(std::move(line));
    } else {
      same->kinds.push_back(kind.name);
    }
  }
  // An input that nothing was quantized before has no error, and no place on a logarithmic axis.
  std::vector<double> positive = all;
  std::erase_if(positive, [](double v) { return v <= 0; });
  if (positive.empty()) return {};
  const bool zeros = positive.size() < all.size();
  const std::vector<std::string> labels = block_labels(run);
  Plot plot(Axis::places(labels, 12), axis_for(positive, 5), 240,
            "squared relative error at the layers' inputs by block", line_css(labels.size()));
  for (size_t s = 0; s < lines.size(); ++s) {
    std::vector<Point> points;
    for (const auto& [x, y] : lines[s].values)
      if (y > 0) points.push_back({.x = x, .y = y});
    if (points.empty()) continue;
    plot.curve(points, s);
    const std::string name = joined(lines[s].kinds);
    for (const Point& p : points)
      plot.mark(p, s,
                fmt::format("Input of {}, block {}\nsquared relative error {}", name,
                            labels[static_cast<size_t>(p.x)], significant(p.y, 4)));
    plot.name(points.back(), name, s);
  }
  Html legend;
  for (size_t s = 0; s < lines.size(); ++s) legend.add(legend_entry(joined(lines[s].kinds), s));
  return figure(
      "Error at the layers' inputs",
      std::string(
          "mean square of the difference from the original model's input, over the mean square "
          "of that; by block") +
          (zeros ? "; inputs without error are left out" : ""),
      html("<p class=\"legend\">{}</p>{}", legend, plot.html()));
}

// The searches of one kind of stage, a block each.
struct Searches {
  std::vector<std::string> kinds;
  std::vector<std::pair<double, const Mixing*>> by_place;
};

bool same_search(const Mixing& a, const Mixing& b) {
  return a.e_q == b.e_q && a.e_a == b.e_a && a.points.size() == b.points.size() &&
         std::equal(a.points.begin(), a.points.end(), b.points.begin(),
                    [](const auto& p, const auto& q) {
                      return p.e_q == q.e_q && p.e_a == q.e_a && p.error == q.error;
                    });
}

std::vector<Searches> searches_of(const Run& run) {
  std::vector<Searches> out;
  for (const Kind& kind : kinds_of(run)) {
    Searches s{.kinds = {kind.name}};
    for (size_t i = 0; i < kind.layers.size(); ++i) {
      const Layer& layer = run.layers[kind.layers[i]];
      if (layer.block && layer.mixing) s.by_place.emplace_back(kind.places[i], &*layer.mixing);
    }
    if (s.by_place.empty()) continue;
    const auto same = std::find_if(out.begin(), out.end(), [&](const Searches& other) {
      return std::equal(other.by_place.begin(), other.by_place.end(), s.by_place.begin(),
                        s.by_place.end(), [](const auto& a, const auto& b) {
                          return a.first == b.first && same_search(*a.second, *b.second);
                        });
    });
    if (same == out.end()) {
      out.push_back(std::move(s));
    } else {
      same->kinds.push_back(kind.name);
    }
  }
  return out;
}

Html chosen_chart(const Searches& s, const std::vector<std::string>& labels) {
  Plot plot(Axis::places(labels, 12), Axis::linear(0, 1, 4), 200,
            "mixing coefficients by block, " + joined(s.kinds), line_css(labels.size()));
  const char* kNames[] = {"e_q", "e_a"};
  for (size_t which = 0; which < 2; ++which) {
    std::vector<Point> points;
    points.reserve(s.by_place.size());
    for (const auto& [x, mixing] : s.by_place)
      points.push_back({.x = x, .y = which == 0 ? mixing->e_q : mixing->e_a});
    plot.curve(points, which);
    for (size_t i = 0; i < points.size(); ++i)
      plot.mark(points[i], which,
                fmt::format("Block {}\ne_q {}, e_a {}", labels[static_cast<size_t>(points[i].x)],
                            significant(s.by_place[i].second->e_q, 3),
                            significant(s.by_place[i].second->e_a, 3)));
    plot.name(points.back(), kNames[which], which);
  }
  return figure("Mixing coefficients of " + joined(s.kinds),
                "chosen for each block; e_q: how much the original model's statistics count, e_a: "
                "how much the unweighted ones",
                html("<p class=\"legend\">{}{}</p>{}", legend_entry("e_q", 0),
                     legend_entry("e_a", 1), plot.html()));
}

// The error with mixing over the error without, for the best e_q alone and for both; empty where
// the search's points are not in the file.
Html gain_chart(const Searches& s, const std::vector<std::string>& labels) {
  std::vector<Point> first, both;
  std::vector<double> ys{1};
  for (const auto& [place, mixing] : s.by_place) {
    double none = 0, alone = INFINITY, best = INFINITY;
    for (const auto& p : mixing->points) {
      if (p.e_q == 0 && p.e_a == 0) none = p.error;
      if (p.e_a == 0) alone = std::min(alone, p.error);
      best = std::min(best, p.error);
    }
    if (none <= 0) continue;
    first.push_back({.x = place, .y = alone / none});
    both.push_back({.x = place, .y = best / none});
    ys.push_back(alone / none);
    ys.push_back(best / none);
  }
  if (both.empty()) return {};
  Plot plot(Axis::places(labels, 12), axis_for(ys, 4), 200,
            "error with mixing over the error without by block, " + joined(s.kinds),
            line_css(labels.size()));
  const std::string kNames[] = {"e_q alone", "e_q and e_a"};
  plot.rule(1, "");
  for (const size_t which : {size_t{0}, size_t{1}}) {
    const std::vector<Point>& points = which == 0 ? first : both;
    plot.curve(points, which);
    for (const Point& p : points)
      plot.mark(p, which,
                fmt::format("Block {}, {}\n{} of the error without mixing",
                            labels[static_cast<size_t>(p.x)], kNames[which], percent(p.y, 2)));
    plot.name(points.back(), kNames[which], which);
  }
  return figure("What mixing was worth, " + joined(s.kinds),
                "the least error at the next stage's input, over that without mixing; by block",
                html("<p class=\"legend\">{}{}</p>{}", legend_entry(kNames[0], 0),
                     legend_entry(kNames[1], 1), plot.html()));
}

}  // namespace

Html course_charts(const Run& run, Absences& absent) {
  Html out;
  if (run.layers.empty()) return out;
  const Html errors = errors_chart(run);
  if (errors.empty())
    absent.push_back("Error at the layers' inputs: the run file holds no capture_error above 0");
  out.add(errors);
  const std::vector<std::string> labels = block_labels(run);
  const std::vector<Searches> all = searches_of(run);
  if (all.empty()) absent.push_back("Mixing coefficients: no stage searched them");
  for (const Searches& searches : all) {
    out.add(chosen_chart(searches, labels));
    const Html gain = gain_chart(searches, labels);
    if (gain.empty())
      absent.push_back("What mixing was worth: the points tried are not in the run file");
    out.add(gain);
  }
  return out.empty() ? out : html("<div class=\"grid2\">{}</div>", out);
}

Html stage_charts(const Run& run, size_t colour, Absences& absent) {
  if (run.stages.empty()) {
    absent.push_back("Time and memory by stage: the run file lists no stages");
    return {};
  }
  double longest = 1e-9, largest = 0;
  for (const Stage& stage : run.stages) {
    longest = std::max(longest, stage.seconds);
    largest = std::max(largest, static_cast<double>(stage.peak_bytes.value_or(0)));
  }
  const auto row = [&](const std::string& name, double share, const std::string& value) {
    return html(
        "<tr><th scope=\"row\">{}</th><td><i class=\"c{}\" style=\"--part:{:.2f}%\"></i></td>"
        "<td>{}</td></tr>",
        name, colour % kColours, 100 * std::clamp(share, 0.0, 1.0), value);
  };
  Html times, memory;
  for (const Stage& stage : run.stages) {
    times.add(row(stage.name, stage.seconds / longest, duration(stage.seconds)));
    if (stage.peak_bytes && largest > 0)
      memory.add(row(stage.name, static_cast<double>(*stage.peak_bytes) / largest,
                     bytes(static_cast<double>(*stage.peak_bytes))));
  }
  Html out = figure("Time by stage", duration(run.seconds) + " in all",
                    html("<table class=\"bars\">{}</table>", times));
  if (memory.empty()) {
    absent.push_back("Memory by stage: the run file holds no peak_bytes");
  } else {
    out.add(figure("Memory by stage", "peak of the process, as the stage ended",
                   html("<table class=\"bars\">{}</table>", memory)));
  }
  return html("<div class=\"grid2\">{}</div>", out);
}

}  // namespace watersic::report
