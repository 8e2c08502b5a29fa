// The search for the step that gives a rate: bits fall as the step grows.
#pragma once

#include <optional>

namespace watersic {

// Feed it what was measured, ask it what to try. Works on log2 of the step: at high rate a doubling
// of the step takes one bit away, so the first guess has slope -1; then secants, kept inside the
// bracket.
class StepSearch {
 public:
  StepSearch(double target_bits, double first_step);

  double next() const;  // the step to try
  void measured(double step, double bits);

  double best_step() const { return best_step_; }
  double best_error() const { return best_error_; }  // |bits - target| there; infinity at first

 private:
  struct Point {
    double log_step, bits;
  };

  double target_;
  double next_log_step_;
  double best_step_, best_error_;
  std::optional<Point> last_;
  std::optional<Point> too_many_, too_few_;  // the nearest points on either side of the target
};

}  // namespace watersic
