#include "report/panels.h"

#include <algorithm>
#include <set>

#include "report/numbers.h"

namespace watersic::report {

Html figure(const std::string& title, const std::string& caption, const Html& chart) {
  return html("<figure><figcaption><b>{}</b> <span>{}</span></figcaption>{}</figure>\n", title,
              caption, chart);
}

std::string layers_word(size_t count) { return count == 1 ? "layer" : "layers"; }

std::vector<Kind> kinds_of(const Run& run) {
  std::set<int64_t> blocks;
  for (const Layer& layer : run.layers)
    if (layer.block) blocks.insert(*layer.block);
  std::vector<std::string> labels;
  labels.reserve(blocks.size());
  for (const int64_t block : blocks) labels.push_back(std::to_string(block));

  std::vector<Kind> kinds;
  for (size_t i = 0; i < run.layers.size(); ++i) {
    const Layer& layer = run.layers[i];
    auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& other) {
      return other.name == layer.kind &&
             run.layers[other.layers[0]].block.has_value() == layer.block.has_value();
    });
    if (kind == kinds.end()) {
      kinds.push_back(
          {.name = layer.kind, .labels = layer.block ? labels : std::vector<std::string>{""}});
      kind = kinds.end() - 1;
    }
    kind->layers.push_back(i);
    kind->places.push_back(
        layer.block ? static_cast<double>(std::distance(blocks.begin(), blocks.find(*layer.block)))
                    : 0);
  }
  return kinds;
}

double weighted_mean(const std::vector<const Layer*>& layers,
                     const std::function<double(const Layer&)>& value) {
  double sum = 0, weights = 0;
  for (const Layer* layer : layers) {
    const double n = static_cast<double>(layer->rows) * static_cast<double>(layer->cols);
    sum += n * value(*layer);
    weights += n;
  }
  return weights > 0 ? sum / weights : 0;
}

Html panels(const Run& run, const PanelFigure& f) {
  Html all;
  for (const Kind& kind : kinds_of(run)) {
    const size_t count = kind.labels.size();
    // Few labels: the first block and some others.
    Plot plot(Axis::places(kind.labels, 4), f.values, f.height,
              f.title + " of " + kind.name + " by block",
              count > 40   ? "small dense"
              : count > 16 ? "small full"
                           : "small");
    std::vector<const Layer*> there;
    for (size_t i = 0; i < kind.layers.size(); ++i) {
      const Layer& layer = run.layers[kind.layers[i]];
      if (!f.has(layer)) continue;
      there.push_back(&layer);
      f.draw(plot, kind.places[i], layer, count);
    }
    if (there.empty()) continue;
    for (size_t i = 0; i < kind.layers.size(); ++i) {
      const Layer& layer = run.layers[kind.layers[i]];
      if (f.has(layer)) plot.area(kind.places[i], count, layer.name + "\n" + f.tip(layer));
    }
    all.add("<div class=\"panel\"><h5>{}<span>{}</span></h5>{}</div>", kind.name,
            f.sum ? f.sum(there) : "", plot.html());
  }
  return figure(f.title, f.caption, html("<div class=\"panels\">{}</div>", all));
}

}  // namespace watersic::report
