// An axis: values to percents of its length, and where its ticks stand.
#pragma once

#include <string>
#include <vector>

namespace watersic::report {

class Axis {
 public:
  struct Tick {
    double value = 0;
    std::string label;
  };

  // From low to high, widened to whole ticks; about `ticks` of them. Both must be finite; where
  // they are equal the axis is widened around them.
  static Axis linear(double low, double high, int ticks);
  // From low to high with a little room at both ends, ticks inside. Both must be finite.
  static Axis around(double low, double high, int ticks);
  // The same with equal steps of the logarithm. Both must be positive besides.
  static Axis logarithmic(double low, double high, int ticks);
  // Whole numbers 0 ... count - 1, each in the middle of its place, with labels for some of them.
  static Axis places(const std::vector<std::string>& labels, int ticks);

  double at(double value) const;  // 0 at the beginning, 100 at the end
  const std::vector<Tick>& ticks() const { return ticks_; }
  bool is_logarithmic() const { return logarithmic_; }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  void add_ticks(double step);  // the multiples of `step`

  double low_ = 0, high_ = 1;
  bool logarithmic_ = false;
  std::vector<Tick> ticks_;
};

// The axis of values that are all positive, the largest more than `ratio` times the least, is
// logarithmic, any other linear.
Axis axis_for(const std::vector<double>& values, int ticks, double ratio = 4);

}  // namespace watersic::report
