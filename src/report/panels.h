// Small charts side by side, one for each kind of layer (q_proj, k_proj, ...), with the blocks of
// the model from left to right and one axis of values for all.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "report/charts.h"

namespace watersic::report {

// The layers of one kind.
struct Kind {
  std::string name;
  std::vector<size_t> layers;       // places in Run::layers
  std::vector<double> places;       // of each layer, on an axis of Axis::places(labels)
  std::vector<std::string> labels;  // the numbers of the blocks
};
std::vector<Kind> kinds_of(const Run& run);

// "layer" or "layers".
std::string layers_word(size_t count);

struct PanelFigure {
  std::string title, caption;
  Axis values;
  size_t colour = 0;
  int height = 84;
  std::function<bool(const Layer&)> has;
  // Draws a layer at place x.
  std::function<void(Plot&, double x, const Layer&, size_t count)> draw;
  std::function<std::string(const Layer&)> tip;
  // Stands at a panel's top: what the kind comes to. May be empty.
  std::function<std::string(const std::vector<const Layer*>&)> sum;
};
Html panels(const Run& run, const PanelFigure& figure);

// Mean of a value over layers, by their weights.
double weighted_mean(const std::vector<const Layer*>& layers,
                     const std::function<double(const Layer&)>& value);

// How many layers have it; where not all have, a line for `absent`.
template <class F>
size_t count_layers(const Run& run, F&& has, const std::string& what, const std::string& reason,
                    Absences& absent) {
  size_t count = 0;
  for (const Layer& layer : run.layers) count += has(layer) ? 1 : 0;
  if (count == run.layers.size() && count > 0) return count;
  absent.push_back(count == 0 ? what + ": " + reason
                              : what + " of " + std::to_string(run.layers.size() - count) + " " +
                                    layers_word(run.layers.size() - count) + ": " + reason);
  return count;
}

}  // namespace watersic::report
