// Adam (Kingma & Ba 2014, arXiv 1412.6980): AdamW without weight decay.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace watersic {

class Adam {
 public:
  explicit Adam(size_t parameters) : mean_(parameters), square_(parameters) {}

  void step(double learning_rate, std::span<const double> gradient, std::span<double> parameters) {
    constexpr double kMean = 0.9, kSquare = 0.999, kEpsilon = 1e-8;
    ++steps_;
    const double mean_bias = 1 - std::pow(kMean, steps_),
                 square_bias = 1 - std::pow(kSquare, steps_);
    for (size_t i = 0; i < parameters.size(); ++i) {
      mean_[i] = kMean * mean_[i] + (1 - kMean) * gradient[i];
      square_[i] = kSquare * square_[i] + (1 - kSquare) * gradient[i] * gradient[i];
      parameters[i] -=
          learning_rate * (mean_[i] / mean_bias) / (std::sqrt(square_[i] / square_bias) + kEpsilon);
    }
  }

 private:
  std::vector<double> mean_, square_;
  int steps_ = 0;
};

}  // namespace watersic
