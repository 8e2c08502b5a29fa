#include "watersic/limit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "api/check_problem.h"
#include "base/rotation.h"
#include "base/threads.h"
#include "io/json.h"
#include "linalg/blas.h"
#include "quant/limit.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// 1/2 log2 of the arithmetic over the geometric mean of l_ii^2, L the lower Cholesky factor of S:
// what GPTQ pays for having one step. Infinite for a singular S.
double spread_penalty(ThreadPool& pool, Matrix<double> S) {
  if (cholesky(pool, S) >= 0) return std::numeric_limits<double>::infinity();
  double mean = 0, log_mean = 0;
  const auto n = static_cast<double>(S.rows());
  for (int64_t i = 0; i < S.rows(); ++i) {
    mean += S(i, i) * S(i, i) / n;
    log_mean += 2 * std::log2(S(i, i)) / n;
  }
  return 0.5 * (std::log2(mean) - log_mean);
}

}  // namespace

LimitReport information_limit(MatrixView<const double> S, MatrixView<const float> W,
                              const std::vector<double>& bits, uint64_t seed, int threads) {
  const int64_t n = W.size() > 0 ? W.cols() : S.cols();
  if (n == 0) throw Error("covariance: expected a matrix, found 0 x 0");
  check_covariance(S, n);
  ThreadPool pool(threads);
  LimitReport report{.features = n};
  if (W.size() > 0) {
    check_weights(W);
    report.variance = 0;
    for (int64_t k = 0; k < W.rows(); ++k)
      for (const float w : W.row(k))
        report.variance += static_cast<double>(w) * w / static_cast<double>(W.size());
  }
  // GPTQ goes from the first column to the last: the loop of docs/algorithm.md on the reverse.
  Matrix<double> reversed(n, n), rotated(n, n), copy(n, n);
  const RandomRotation rotation(n, 2 * seed + 1);
  for (int64_t i = 0; i < n; ++i) {
    report.trace += S(i, i) / static_cast<double>(n);
    for (int64_t j = 0; j < n; ++j) {
      reversed(i, j) = S(n - 1 - i, n - 1 - j);
      copy(i, j) = rotated(i, j) = S(i, j);
    }
  }
  for (int side = 0; side < 2; ++side) {
    pool.parallel_for(n, [&](int64_t i) { rotation.apply(rotated.row(i)); });
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < i; ++j) std::swap(rotated(i, j), rotated(j, i));
  }
  const double integer_gap = 0.5 * std::log2(2 * std::numbers::pi * std::numbers::e / 12);
  report.watersic_gap = integer_gap;
  report.gptq_gap = integer_gap + spread_penalty(pool, std::move(reversed));
  report.rotated_gptq_gap = integer_gap + spread_penalty(pool, std::move(rotated));

  const std::vector<double> eigenvalues = symmetric_eigenvalues(std::move(copy));
  report.smallest = eigenvalues.front();
  report.largest = eigenvalues.back();
  if (report.smallest < -1e-6 * std::max(report.largest, 0.0) || report.largest <= 0) {
    throw Error("covariance: expected a positive semidefinite matrix, found the eigenvalue " +
                std::to_string(report.smallest));
  }
  for (const double rate : bits) {
    const double distortion = distortion_at_rate(eigenvalues, report.variance, rate);
    const Limit limit = rate_at_distortion(eigenvalues, report.variance, distortion);
    report.points.push_back({distortion, limit.bits, limit.water_level, limit.active});
  }
  return report;
}

std::string to_json(const LimitReport& r) {
  Json json = {{"schema", "watersic.limit/1"},
               {"features", r.features},
               {"variance", r.variance},
               {"trace", r.trace},
               {"largest_eigenvalue", r.largest},
               {"smallest_eigenvalue", r.smallest},
               {"watersic_gap", r.watersic_gap},
               {"gptq_gap", r.gptq_gap},
               {"rotated_gptq_gap", r.rotated_gptq_gap},
               {"points", Json::array()}};
  for (const LimitPoint& p : r.points) {
    json["points"].push_back({{"bits", p.bits},
                              {"distortion", p.distortion},
                              {"water_level", p.water_level},
                              {"active", p.active}});
  }
  return json.dump(2) + "\n";
}

}  // namespace watersic
