#include "encode/step_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace watersic {

StepSearch::StepSearch(double target_bits, double first_step)
    : target_(target_bits),
      next_log_step_(std::log2(first_step)),
      best_step_(first_step),
      best_error_(std::numeric_limits<double>::infinity()) {}

double StepSearch::next() const { return std::exp2(next_log_step_); }

void StepSearch::measured(double step, double bits) {
  const Point point{std::log2(step), bits};
  const double error = bits - target_;
  if (std::fabs(error) < best_error_) {
    best_error_ = std::fabs(error);
    best_step_ = step;
  }
  if (error > 0 && (!too_many_ || point.log_step > too_many_->log_step)) too_many_ = point;
  if (error <= 0 && (!too_few_ || point.log_step < too_few_->log_step)) too_few_ = point;

  double slope = -1;
  if (last_ && last_->log_step != point.log_step) {
    const double secant = (bits - last_->bits) / (point.log_step - last_->log_step);
    slope = std::clamp(secant, -1.5, -0.05);  // noise can turn it; bits never rise with the step
  }
  last_ = point;
  // Where bits hardly follow the step a secant would leave the range of numbers.
  constexpr double kMostOctaves = 6;
  next_log_step_ = point.log_step + std::clamp(-error / slope, -kMostOctaves, kMostOctaves);
  if (too_many_ && too_few_) {
    const double low = too_many_->log_step, high = too_few_->log_step;
    if (!(next_log_step_ > low && next_log_step_ < high)) next_log_step_ = (low + high) / 2;
  }
}

}  // namespace watersic
