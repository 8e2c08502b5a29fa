#include "quant/limit.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "quant/means.h"

namespace watersic {
namespace {

// variance * l_i, falling.
std::vector<double> component_variances(std::span<const double> eigenvalues, double variance) {
  std::vector<double> components(eigenvalues.begin(), eigenvalues.end());
  for (double& c : components) c = variance * std::max(c, 0.0);
  std::sort(components.begin(), components.end(), std::greater<>());
  return components;
}

}  // namespace

Limit rate_at_distortion(std::span<const double> eigenvalues, double variance, double distortion) {
  const std::vector<double> components = component_variances(eigenvalues, variance);
  const auto n = static_cast<double>(components.size());
  if (components.empty()) return {};
  if (!(distortion > 0)) return {.bits = std::numeric_limits<double>::infinity()};

  // Those under the water contribute themselves, the `active` first ones theta. Take the fewest
  // active for which the level covers the next component.
  double under = 0;
  for (const double c : components) under += c;
  Limit limit;
  if (under / n <= distortion) {
    limit.water_level = components.front();
    return limit;
  }
  for (size_t active = 1; active <= components.size(); ++active) {
    under -= components[active - 1];
    const double level = (n * distortion - under) / static_cast<double>(active);
    const double next = active < components.size() ? components[active] : 0.0;
    if (level >= next) {
      limit.active = static_cast<int64_t>(active);
      limit.water_level = level;
      break;
    }
  }
  for (int64_t i = 0; i < limit.active; ++i) {
    limit.bits +=
        std::max(0.0, 0.5 * std::log2(components[static_cast<size_t>(i)] / limit.water_level)) / n;
  }
  return limit;
}

std::vector<double> product_spectrum(std::span<const double> inputs,
                                     std::span<const double> outputs) {
  constexpr size_t kMost = 512;
  const std::vector<double> others = thinned({outputs.begin(), outputs.end()}, kMost);
  std::vector<double> out;
  for (const double x : thinned({inputs.begin(), inputs.end()}, kMost))
    for (const double y : others) out.push_back(x * y);
  return out;
}

Limit rate_at_weighted_distortion(std::span<const double> inputs, std::span<const double> outputs,
                                  double variance, double distortion) {
  double mean = 0;
  for (const double x : outputs) mean += x / static_cast<double>(outputs.size());
  std::vector<double> normalised(outputs.begin(), outputs.end());
  for (double& x : normalised) x /= mean;
  return rate_at_distortion(product_spectrum(inputs, normalised), variance, distortion);
}

double distortion_at_rate(std::span<const double> eigenvalues, double variance, double bits) {
  const std::vector<double> components = component_variances(eigenvalues, variance);
  const auto n = static_cast<double>(components.size());
  double log_sum = 0, total = 0;
  for (const double c : components) total += c;
  if (components.empty() || bits <= 0 || total <= 0) return components.empty() ? 0.0 : total / n;
  // With k active, bits n = 1/2 sum_k log2(c_i / theta): theta follows, and must cover the next.
  for (size_t active = 1; active <= components.size(); ++active) {
    log_sum += std::log2(components[active - 1]);
    const double level = std::exp2((log_sum - 2 * bits * n) / static_cast<double>(active));
    const double next = active < components.size() ? components[active] : 0.0;
    if (level >= next) {
      double distortion = level * static_cast<double>(active);
      for (size_t i = active; i < components.size(); ++i) distortion += components[i];
      return distortion / n;
    }
  }
  return 0.0;
}

}  // namespace watersic
