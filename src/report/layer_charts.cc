#include <fmt/format.h>

#include <algorithm>

#include "report/charts.h"
#include "report/numbers.h"
#include "report/panels.h"

namespace watersic::report {
namespace {

using Value = std::function<std::optional<double>(const Layer&)>;

std::vector<double> values_of(const Run& run, const Value& value) {
  std::vector<double> out;
  for (const Layer& layer : run.layers)
    if (const auto v = value(layer)) out.push_back(*v);
  return out;
}

Axis linear_over(const std::vector<double>& values, int ticks) {
  return Axis::linear(*std::min_element(values.begin(), values.end()),
                      *std::max_element(values.begin(), values.end()), ticks);
}

std::string bits_tip(const Layer& layer) {
  std::string tip = fmt::format("{} bits in the file: {} coded, {} side", fixed(layer.bits.file, 4),
                                fixed(layer.bits.coded, 4), fixed(layer.bits.side, 4));
  if (layer.target_bits) tip += "\ntarget " + fixed(*layer.target_bits, 4);
  if (layer.limit_bits) tip += "\nlimit R(D) " + fixed(*layer.limit_bits, 4);
  if (layer.gap) tip += ", gap " + fixed(*layer.gap, 4);
  return tip;
}

Html bits_chart(const Run& run, size_t colour, bool limits) {
  std::vector<double> values = values_of(run, [](const Layer& l) { return l.bits.file; });
  for (const double v : values_of(run, [](const Layer& l) { return l.limit_bits; }))
    values.push_back(v);
  bool targets = false;
  // The target of a fixed grid is its width, not what it should spend.
  const bool fixed_grid = run.method == "gptq" || run.method == "rtn";
  if (!fixed_grid) {
    for (const double v : values_of(run, [](const Layer& l) { return l.target_bits; })) {
      values.push_back(v);
      targets = true;
    }
  }
  std::string caption = "a weight in the file (dots)";
  if (limits) caption += "; the stem reaches down to the limit R(D) at the distortion reached";
  if (targets) caption += "; the line across is the target";
  return panels(run, {.title = "Bits by layer",
                      .caption = caption,
                      .values = linear_over(values, 4),
                      .colour = colour,
                      .height = 104,
                      .has = [](const Layer&) { return true; },
                      .draw =
                          [colour](Plot& plot, double x, const Layer& layer, size_t count) {
                            if (layer.target_bits)
                              plot.dash({.x = x, .y = *layer.target_bits}, count, "target");
                            if (layer.limit_bits)
                              plot.stem(x, *layer.limit_bits, layer.bits.file, colour);
                            plot.dot({.x = x, .y = layer.bits.file}, colour);
                          },
                      .tip = bits_tip,
                      .sum =
                          [](const auto& layers) {
                            return fixed(
                                weighted_mean(layers, [](const Layer& l) { return l.bits.file; }),
                                3);
                          }});
}

// Stems from zero.
Html gap_chart(const Run& run, size_t colour) {
  std::vector<double> values = values_of(run, [](const Layer& l) { return l.gap; });
  values.push_back(0);
  return panels(
      run, {.title = "Gap by layer",
            .caption = "coded bits above R(D), what no code of Gaussian weights can go below",
            .values = linear_over(values, 4),
            .colour = colour,
            .has = [](const Layer& l) { return l.gap.has_value(); },
            .draw = [colour](Plot& plot, double x, const Layer& layer,
                             size_t) { plot.stem(x, 0, *layer.gap, colour, "wide"); },
            .tip = bits_tip,
            .sum =
                [](const auto& layers) {
                  return fixed(weighted_mean(layers, [](const Layer& l) { return *l.gap; }), 3);
                }});
}

// Dots, on a logarithmic axis where they are far apart.
Html dots_chart(const Run& run, size_t colour, const std::string& title, const std::string& caption,
                const std::string& said, const Value& value) {
  return panels(
      run, {.title = title,
            .caption = caption,
            .values = axis_for(values_of(run, value), 3),
            .colour = colour,
            .has = [value](const Layer& l) { return value(l).has_value(); },
            .draw = [colour, value](Plot& plot, double x, const Layer& layer,
                                    size_t) { plot.dot({.x = x, .y = *value(layer)}, colour); },
            .tip = [value, said](
                       const Layer& layer) { return said + " " + significant(*value(layer), 4); },
            .sum = {}});
}

}  // namespace

Html layer_charts(const Run& run, size_t colour, Absences& absent) {
  Html out;
  if (run.layers.empty()) {
    absent.push_back("Everything by layer: the run file lists no layers");
    return out;
  }
  const size_t gaps = count_layers(
      run, [](const Layer& l) { return l.gap && l.limit_bits; }, "Limit and gap",
      "the run file holds none (layers of more than 4096 columns have none)", absent);
  out.add(bits_chart(run, colour, gaps > 0));
  if (gaps > 0) out.add(gap_chart(run, colour));

  const Value relative = [](const Layer& l) { return l.relative_distortion; };
  if (count_layers(run, relative, "Relative distortion", "the run file holds none", absent) > 0)
    out.add(dots_chart(run, colour, "Relative distortion by layer",
                       "distortion over the mean power of the layer's outputs",
                       "relative distortion", relative));
  const Value sensitivity = [](const Layer& l) { return l.sensitivity; };
  if (count_layers(run, sensitivity, "Sensitivity", "not measured in this run", absent) > 0)
    out.add(dots_chart(run, colour, "Sensitivity by layer",
                       "the KL that the layer alone would make at 0 bits, extrapolated",
                       "sensitivity", sensitivity));
  return out;
}

}  // namespace watersic::report
