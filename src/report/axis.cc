#include "report/axis.h"

#include <algorithm>
#include <cmath>

#include "report/numbers.h"

namespace watersic::report {
namespace {

// The least of 1, 2, 2.5, 5, 10 times a power of ten that cuts `span` into at most `parts` steps.
double nice_step(double span, int parts) {
  const double power = std::pow(10, std::floor(std::log10(span / parts)));
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (span / (factor * power) <= parts * 1.0001) return factor * power;
  return 10 * power;
}

// Too near for an axis: what tells them apart is rounding.
bool nearly_equal(double low, double high) {
  return high - low <= 1e-9 * std::max(std::abs(low), std::abs(high));
}

double room_around(double value) { return value == 0 ? 1 : 0.1 * std::abs(value); }

// Labels of one axis have as many decimals as its step needs.
std::string tick_label(double value, double step) {
  if (std::abs(value) >= 1e7 || step < 1e-5) return significant(value, 3);
  int decimals = 0;
  while (decimals < 6 &&
         std::abs(step * std::pow(10, decimals) - std::round(step * std::pow(10, decimals))) > 1e-6)
    ++decimals;
  return fixed(value, decimals);
}

}  // namespace

void Axis::add_ticks(double step) {
  const double first = std::ceil(low_ / step - 1e-9), last = std::floor(high_ / step + 1e-9);
  if (!(first <= last)) return;  // of a range that is no number, too
  constexpr double kMost = 1000;
  const auto more = static_cast<int>(std::min(last - first, kMost));
  for (int i = 0; i <= more; ++i) {
    const double value = (first + i) * step;
    ticks_.push_back({.value = value, .label = tick_label(value, step)});
  }
}

Axis Axis::linear(double low, double high, int ticks) {
  if (nearly_equal(low, high)) {
    const double room = room_around(low);
    low -= room;
    high += room;
  }
  const double step = nice_step(high - low, ticks);
  Axis axis;
  axis.low_ = std::floor(low / step + 1e-9) * step;
  axis.high_ = std::ceil(high / step - 1e-9) * step;
  axis.add_ticks(step);
  return axis;
}

Axis Axis::around(double low, double high, int ticks) {
  const double room = nearly_equal(low, high) ? room_around(low) : 0.05 * (high - low);
  Axis axis;
  axis.low_ = low - room;
  axis.high_ = high + room;
  axis.add_ticks(nice_step(axis.high_ - axis.low_, ticks));
  return axis;
}

Axis Axis::logarithmic(double low, double high, int ticks) {
  Axis axis;
  axis.logarithmic_ = true;
  // What is farther out would end beyond the numbers that there are.
  constexpr double kLeast = 1e-250, kMost = 1e250;
  low = std::clamp(low, kLeast, kMost);
  high = std::clamp(high, low, kMost);
  const double room = std::max(0.06 * (std::log(high) - std::log(low)), 0.1);
  axis.low_ = low * std::exp(-room);
  axis.high_ = high * std::exp(room);
  const double decades = std::log10(axis.high_) - std::log10(axis.low_);
  if (decades < 0.7) {  // too short for powers of ten: equal steps of the value
    axis.add_ticks(nice_step(axis.high_ - axis.low_, ticks));
    return axis;
  }
  // 1, 2, 5 of every decade where there is room, or 1, 3, or the powers, or some of these.
  const std::vector<double> factors = 3 * decades <= ticks + 1   ? std::vector<double>{1, 2, 5}
                                      : 2 * decades <= ticks + 1 ? std::vector<double>{1, 3}
                                                                 : std::vector<double>{1};
  const int every = std::max(1, static_cast<int>(std::ceil(decades / (ticks + 1))));
  const int first = static_cast<int>(std::floor(std::log10(axis.low_)));
  const int last = static_cast<int>(std::ceil(std::log10(axis.high_)));
  for (int k = first; k <= last; ++k) {
    if (k % every != 0) continue;
    for (const double factor : factors) {
      const double value = factor * std::pow(10, k);
      if (value >= axis.low_ && value <= axis.high_)
        axis.ticks_.push_back(
            {.value = value, .label = k < -4 || k > 6 ? significant(value, 1) : plain(value)});
    }
  }
  return axis;
}

Axis Axis::places(const std::vector<std::string>& labels, int ticks) {
  Axis axis;
  const auto count = static_cast<double>(labels.size());
  axis.low_ = -0.5;
  axis.high_ = std::max(count, 1.0) - 0.5;
  const auto every = static_cast<size_t>(std::max(1.0, std::ceil(nice_step(count, ticks))));
  for (size_t i = 0; i < labels.size(); i += every)
    axis.ticks_.push_back({.value = static_cast<double>(i), .label = labels[i]});
  return axis;
}

double Axis::at(double value) const {
  if (logarithmic_)
    return 100 * (std::log(value) - std::log(low_)) / (std::log(high_) - std::log(low_));
  return 100 * (value - low_) / (high_ - low_);
}

Axis axis_for(const std::vector<double>& values, int ticks, double ratio) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*low > 0 && *high / *low > ratio) return Axis::logarithmic(*low, *high, ticks);
  return Axis::linear(*low, *high, ticks);
}

}  // namespace watersic::report
