#include "pipeline/mixing.h"

#include <algorithm>
#include <cmath>

namespace watersic {
namespace {

// (1 - e) A + e B; A where B is empty.
template <class T>
Matrix<T> blend(const Matrix<T>& A, const Matrix<T>& B, double e) {
  Matrix<T> out = A;
  if (B.empty()) return out;
  for (size_t i = 0; i < out.values().size(); ++i)
    out.values()[i] = static_cast<T>((1 - e) * A.values()[i] + e * B.values()[i]);
  return out;
}

Moments toward_original(const Moments& moments, double e_q) {
  Moments out = moments;
  if (!moments.S_quantized.empty()) out.S_quantized = blend(moments.S_quantized, moments.S, e_q);
  for (Matrix<float>* M : {&out.drift, &out.drift_contrast})
    for (float& x : M->values()) x *= static_cast<float>(1 - e_q);
  return out;
}

// Calls tried(x) for 0, 1, the golden section's points and the middle of its last interval.
void golden_section(int steps, const std::function<double(double)>& tried) {
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  tried(0);
  tried(1);
  double lo = 0, hi = 1, left = 1 - ratio, right = ratio;
  if (steps >= 2) {
    double at_left = tried(left), at_right = tried(right);
    for (int i = 2; i < steps; ++i) {
      if (at_left <= at_right) {
        hi = right;
        right = left;
        at_right = at_left;
        left = hi - ratio * (hi - lo);
        at_left = tried(left);
      } else {
        lo = left;
        left = right;
        at_left = at_right;
        right = lo + ratio * (hi - lo);
        at_right = tried(right);
      }
    }
    (at_left <= at_right ? hi : lo) = at_left <= at_right ? right : left;
  }
  tried((lo + hi) / 2);
}

}  // namespace

Moments mixed(const StageStatistics& statistics, double e_q, double e_a) {
  Moments plain = toward_original(statistics.plain, e_q);
  if (statistics.weighted.empty()) return plain;
  Moments out = toward_original(statistics.weighted, e_q);
  for (Matrix<double> Moments::*M : {&Moments::S, &Moments::S_quantized, &Moments::metric_contrast})
    out.*M = blend(out.*M, plain.*M, e_a);
  for (Matrix<float> Moments::*M : {&Moments::drift, &Moments::drift_contrast})
    out.*M = blend(out.*M, plain.*M, e_a);
  return out;
}

MixingReport search_mixing(bool search_q, bool search_a, int steps,
                           const std::function<double(double e_q, double e_a)>& error_at) {
  MixingReport report;
  double best = 0;
  const auto attempt = [&](double e_q, double e_a) {
    const auto same = [&](const MixingPoint& p) { return p.e_q == e_q && p.e_a == e_a; };
    const auto known = std::find_if(report.points.begin(), report.points.end(), same);
    if (known != report.points.end()) return known->error;
    const double error = error_at(e_q, e_a);
    if (report.points.empty() || error < best) {
      best = error;
      report.e_q = e_q;
      report.e_a = e_a;
    }
    report.points.push_back({.e_q = e_q, .e_a = e_a, .error = error});
    return error;
  };
  if (search_q) golden_section(steps, [&](double e) { return attempt(e, 0); });
  const double e_q = report.e_q;
  if (search_a) golden_section(steps, [&](double e) { return attempt(e_q, e); });
  return report;
}

}  // namespace watersic
