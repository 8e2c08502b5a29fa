#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/mixture.h"
#include "report/numbers.h"
#include "report/panels.h"

namespace watersic::report {
namespace {

struct Spread {
  std::string title, field;  // "Column rates", "column_bits"
  std::string things;        // "columns"
  std::string meaning;
  Quantiles Layer::*values;
  bool columns;      // or rows: how many a layer has
  double reference;  // where the scale does nothing; NaN for none
  int decimals;
};

const Spread kSpreads[] = {
    {"Column rates", "column_bits", "columns", "bits: the empirical entropy of a column's integers",
     &Layer::column_bits, true, NAN, 2},
    {"Row scales t", "row_scales", "rows", "the factor that the rescalers give a row",
     &Layer::row_scales, false, 1, 3},
    {"Column factors γ", "column_factors", "columns", "the factor that the rescalers give a column",
     &Layer::column_factors, true, 1, 3}};

double count_of(const Layer& layer, const Spread& spread) {
  return static_cast<double>(spread.columns ? layer.cols - layer.dead.value_or(0) : layer.rows);
}

// Over the whole model, as a histogram.
Html histogram(const Run& run, const Spread& spread, size_t colour) {
  Mixture mixture;
  for (const Layer& layer : run.layers) mixture.add(layer.*spread.values, count_of(layer, spread));
  if (mixture.empty()) return {};
  // A few extreme values would leave no room for the others.
  const Axis x = Axis::linear(mixture.quantile(0.002), mixture.quantile(0.998), 5);
  constexpr size_t kBins = 48;
  const std::vector<double> shares = mixture.shares(x.low(), x.high(), kBins);
  const double most = *std::max_element(shares.begin(), shares.end());
  double outside = 1;
  for (const double share : shares) outside -= share;

  Plot plot(x, Axis::linear(0, std::max(most, 1e-9), 3), 150,
            spread.title + " over the model, as a histogram", "bare");
  const double width = (x.high() - x.low()) / kBins;
  for (size_t i = 0; i < kBins; ++i) {
    if (shares[i] <= 1e-12) continue;
    const double left = x.low() + width * static_cast<double>(i);
    plot.bar(left, left + width, 0, shares[i], colour,
             fmt::format("{} to {}\n{} of {}", significant(left, 3), significant(left + width, 3),
                         percent(shares[i], 2), spread.things));
  }
  const double median = mixture.quantile(0.5);
  if (median >= x.low() && median <= x.high())
    plot.rule_at(median, "median " + fixed(median, spread.decimals));
  std::string caption =
      fmt::format("{} {}; 90% between {} and {}", grouped(std::llround(mixture.weight())),
                  spread.things, fixed(mixture.quantile(0.05), spread.decimals),
                  fixed(mixture.quantile(0.95), spread.decimals));
  if (outside > 5e-5)
    caption += fmt::format("; {} lie outside, from {} to {}", percent(outside, 2),
                           fixed(mixture.quantile(0), spread.decimals),
                           fixed(mixture.quantile(1), spread.decimals));
  return figure(spread.title + " over the model", caption, plot.html());
}

// Inside each layer: a thin line from 1/32 to 31/32, a thick one from 1/4 to 3/4, the median.
Html bands(const Run& run, const Spread& spread, size_t colour) {
  const auto has = [&spread](const Layer& l) { return !(l.*spread.values).empty(); };
  double low = INFINITY, high = -INFINITY;
  for (const Layer& layer : run.layers) {
    if (!has(layer)) continue;
    low = std::min(low, quantile(layer.*spread.values, 1.0 / 32));
    high = std::max(high, quantile(layer.*spread.values, 31.0 / 32));
  }
  const bool referred = std::isfinite(spread.reference);
  if (referred) {
    low = std::min(low, spread.reference);
    high = std::max(high, spread.reference);
  }
  return panels(
      run,
      {.title = spread.title + " inside each layer",
       .caption = "median, middle half (thick) and all but the outer 1/32 on each side (thin)",
       .values = Axis::linear(low, high, 3),
       .colour = colour,
       .height = 96,
       .has = has,
       .draw =
           [&spread, colour, referred](Plot& plot, double x, const Layer& layer, size_t count) {
             const Quantiles& q = layer.*spread.values;
             if (referred) plot.dash({.x = x, .y = spread.reference}, count, "target");
             plot.stem(x, quantile(q, 1.0 / 32), quantile(q, 31.0 / 32), colour);
             plot.stem(x, quantile(q, 0.25), quantile(q, 0.75), colour, "box");
             plot.dash({.x = x, .y = quantile(q, 0.5)}, count, "median");
           },
       .tip =
           [&spread](const Layer& layer) {
             const Quantiles& q = layer.*spread.values;
             const auto at = [&q](double f) { return significant(quantile(q, f), 4); };
             return fmt::format(
                 "median {}\nmiddle half {} to {}\n1/32 to 31/32: {} to {}\nleast {}, greatest {}",
                 at(0.5), at(0.25), at(0.75), at(1.0 / 32), at(31.0 / 32), at(0), at(1));
           },
       .sum =
           [&spread](const auto& layers) {
             Mixture mixture;
             for (const Layer* l : layers) mixture.add(l->*spread.values, count_of(*l, spread));
             return mixture.empty() ? "" : fixed(mixture.quantile(0.5), spread.decimals);
           }});
}

}  // namespace

Html spread_charts(const Run& run, size_t colour, Absences& absent) {
  Html histograms, all;
  if (run.layers.empty()) return all;
  for (const Spread& spread : kSpreads) {
    const size_t count = count_layers(
        run, [&](const Layer& l) { return !(l.*spread.values).empty(); }, spread.title,
        "the run file holds no " + spread.field, absent);
    if (count == 0) continue;
    histograms.add(histogram(run, spread, colour));
    all.add(bands(run, spread, colour));
  }
  if (all.empty()) return all;
  return html("<div class=\"grid3\">{}</div>{}", histograms, all);
}

}  // namespace watersic::report
