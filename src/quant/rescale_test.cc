#include "quant/rescale.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "linalg/blas.h"
#include "quant/families.h"

namespace watersic {
namespace {

// J by its definition, tr((W - V) S (W - V)^T) / (a n).
double direct_objective(ThreadPool& pool, const Matrix<double>& W, const Matrix<double>& S,
                        const Matrix<int32_t>& Z, const std::vector<double>& alpha,
                        const std::vector<double>& t, const std::vector<double>& gamma) {
  Matrix<double> E(W.rows(), W.cols());
  for (int64_t k = 0; k < W.rows(); ++k) {
    for (int64_t i = 0; i < W.cols(); ++i) {
      const auto column = static_cast<size_t>(i);
      E(k, i) = W(k, i) - t[static_cast<size_t>(k)] * gamma[column] * alpha[column] * Z(k, i);
    }
  }
  return quadratic_trace(pool, E, S) / static_cast<double>(W.size());
}

struct Case {
  Matrix<double> W, S;
  Matrix<float> C, narrow_S;
  Matrix<int32_t> Z;
  std::vector<double> alpha;
  double w2 = 0;
};

// Integers of the columns' own rounding, of weights whose rows and columns were scaled.
Case make_case(ThreadPool& pool, double step) {
  const LayerData layer = make_layer(pool, "powerlaw", 60, 40, 11);
  Case c{Matrix<double>(60, 40),  layer.S,
         Matrix<float>(60, 40),   Matrix<float>(40, 40),
         Matrix<int32_t>(60, 40), std::vector<double>(40, step)};
  Rng rng(12);
  for (int64_t k = 0; k < 60; ++k) {
    const double scale = std::exp(0.3 * rng.normal());
    for (int64_t i = 0; i < 40; ++i) {
      const double w = layer.W(k, i);
      c.Z(k, i) = static_cast<int32_t>(std::lrint(w / step));
      c.W(k, i) = scale * w;
    }
  }
  Matrix<double> C(60, 40);
  gemm(pool, Op::kNone, Op::kNone, 1.0, c.W, c.S, 0.0, C);
  const auto narrow = [](double x) { return static_cast<float>(x); };
  std::ranges::transform(C.values(), c.C.data(), narrow);
  std::ranges::transform(c.S.values(), c.narrow_S.data(), narrow);
  c.w2 = quadratic_trace(pool, c.W, c.S);
  return c;
}

TEST(Rescale, ObjectiveIsTheDistortionAndItFalls) {
  ThreadPool pool(2);
  const Case c = make_case(pool, 0.7);
  const std::vector<double> ones(40, 1.0), rows(60, 1.0);
  const Rescaled r =
      rescale(pool, c.Z, c.alpha, std::vector<double>(60, 1.0), ones, c.C, c.narrow_S, c.w2);
  EXPECT_NEAR(r.initial / direct_objective(pool, c.W, c.S, c.Z, c.alpha, rows, ones), 1, 1e-5);
  EXPECT_NEAR(r.objective / direct_objective(pool, c.W, c.S, c.Z, c.alpha, r.t, r.gamma), 1, 1e-5);
  EXPECT_LT(r.objective, 0.8 * r.initial);
  double mean = 0;
  for (const double t : r.t) mean += std::fabs(t) / 60;
  EXPECT_NEAR(mean, 1, 1e-12);
}

TEST(Rescale, TheResultIsStationary) {
  ThreadPool pool(2);
  const Case c = make_case(pool, 0.7);
  const Rescaled r = rescale(pool, c.Z, c.alpha, std::vector<double>(60, 1.0),
                             std::vector<double>(40, 1.0), c.C, c.narrow_S, c.w2);
  for (const double nudge : {0.98, 1.02}) {
    for (const size_t i : {size_t{0}, size_t{17}, size_t{39}}) {
      auto gamma = r.gamma;
      gamma[i] *= nudge;
      EXPECT_GT(direct_objective(pool, c.W, c.S, c.Z, c.alpha, r.t, gamma),
                r.objective * (1 - 1e-4));
      auto t = r.t;
      t[i] *= nudge;
      EXPECT_GT(direct_objective(pool, c.W, c.S, c.Z, c.alpha, t, r.gamma),
                r.objective * (1 - 1e-4));
    }
  }
}

TEST(Rescale, ColumnsAndRowsOfZerosAreHarmless) {
  ThreadPool pool(1);
  Case c = make_case(pool, 0.7);
  for (int64_t k = 0; k < 60; ++k) c.Z(k, 3) = 0;
  for (int64_t i = 0; i < 40; ++i) c.Z(5, i) = 0;
  const Rescaled r = rescale(pool, c.Z, c.alpha, std::vector<double>(60, 1.0),
                             std::vector<double>(40, 1.0), c.C, c.narrow_S, c.w2);
  for (const double x : r.t) EXPECT_TRUE(std::isfinite(x));
  for (const double x : r.gamma) EXPECT_TRUE(std::isfinite(x));
  EXPECT_LT(r.objective, r.initial);

  for (int32_t& z : c.Z.values()) z = 0;
  const Rescaled nothing = rescale(pool, c.Z, c.alpha, std::vector<double>(60, 1.0),
                                   std::vector<double>(40, 0.0), c.C, c.narrow_S, c.w2);
  EXPECT_NEAR(nothing.objective * 60 * 40 / c.w2, 1, 1e-12);
}

}  // namespace
}  // namespace watersic
