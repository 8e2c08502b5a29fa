#include "calibration/batch_errors.h"

#include <utility>
#include <vector>

namespace watersic {

void BatchErrors::add(ThreadPool& pool, int64_t batch, MatrixView<const float> X,
                      MatrixView<const float> Xq) {
  std::vector<std::pair<double, double>> rows(static_cast<size_t>(X.rows()));
  pool.parallel_for(X.rows(), [&](int64_t i) {
    auto& [error, energy] = rows[static_cast<size_t>(i)];
    for (int64_t j = 0; j < X.cols(); ++j) {
      const double x = X(i, j), difference = Xq(i, j) - x;
      error += difference * difference;
      energy += x * x;
    }
  });
  for (const auto& [error, energy] : rows) {
    sums_(batch, 0) += error;
    sums_(batch, 1) += energy;
  }
}

double BatchErrors::ratio(const Communicator& ranks) {
  ranks.merge(sums_.values());
  double error = 0, energy = 0;
  for (int64_t batch = 0; batch < sums_.rows(); ++batch) {
    error += sums_(batch, 0);
    energy += sums_(batch, 1);
  }
  return energy > 0 ? error / energy : 0;
}

}  // namespace watersic
