#include "report/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace watersic::report {

double quantile(const Quantiles& quantiles, double fraction) {
  const double at = fraction * static_cast<double>(quantiles.size() - 1);
  const auto below = std::min(static_cast<size_t>(at), quantiles.size() - 1);
  return std::lerp(quantiles[below], quantiles[std::min(below + 1, quantiles.size() - 1)],
                   at - static_cast<double>(below));
}

void Mixture::add(const Quantiles& quantiles, double weight) {
  if (quantiles.size() < 2 || !(weight > 0)) return;
  parts_.push_back({quantiles, weight});
  weight_ += weight;
}

double Mixture::share(double value, bool at_most) const {
  double sum = 0;
  for (const Part& part : parts_) {
    const Quantiles& q = part.quantiles;
    // Quantiles below `value`; then the way to the next, which is above.
    const auto next = at_most ? std::upper_bound(q.begin(), q.end(), value)
                              : std::lower_bound(q.begin(), q.end(), value);
    const auto count = static_cast<double>(next - q.begin());
    double passed = std::max(0.0, count - 1);
    if (next != q.begin() && next != q.end())
      passed += (value - *(next - 1)) / (*next - *(next - 1));
    sum += part.weight * passed / static_cast<double>(q.size() - 1);
  }
  return sum / weight_;
}

double Mixture::below(double value) const { return share(value, true); }

double Mixture::quantile(double fraction) const {
  double low = parts_[0].quantiles.front(), high = parts_[0].quantiles.back();
  for (const Part& part : parts_) {
    low = std::min(low, part.quantiles.front());
    high = std::max(high, part.quantiles.back());
  }
  if (fraction <= 0) return low;
  if (fraction >= 1) return high;
  for (int i = 0; i < 60; ++i) {
    const double middle = std::midpoint(low, high);
    (below(middle) < fraction ? low : high) = middle;
  }
  return high;
}

std::vector<double> Mixture::shares(double low, double high, size_t count) const {
  std::vector<double> out(count);
  const double width = (high - low) / static_cast<double>(count);
  double before = share(low, false);
  for (size_t i = 0; i < count; ++i) {
    const bool last = i + 1 == count;
    const double end = last ? high : low + width * static_cast<double>(i + 1);
    const double up_to = share(end, last);
    out[i] = up_to - before;
    before = up_to;
  }
  return out;
}

}  // namespace watersic::report
