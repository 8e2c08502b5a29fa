// A distribution put together from the quantiles of several: the columns of a model from those of
// its layers. Between neighbouring quantiles values count as evenly spread.
#pragma once

#include <vector>

#include "report/records.h"

namespace watersic::report {

// The value at `fraction` of the way from the least to the greatest.
double quantile(const Quantiles& quantiles, double fraction);

class Mixture {
 public:
  void add(const Quantiles& quantiles, double weight);

  bool empty() const { return parts_.empty(); }
  double weight() const { return weight_; }
  double below(double value) const;  // the share of values that are at most `value`
  double quantile(double fraction) const;
  // The shares of `count` equal intervals of [low, high]; the last holds its upper end. What lies
  // outside is in none.
  std::vector<double> shares(double low, double high, size_t count) const;

 private:
  struct Part {
    Quantiles quantiles;
    double weight;
  };
  // The share of values that are less than `value`, or at most.
  double share(double value, bool at_most) const;

  std::vector<Part> parts_;
  double weight_ = 0;
};

}  // namespace watersic::report
