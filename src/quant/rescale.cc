#include "quant/rescale.h"

#include <algorithm>
#include <cmath>

#include "linalg/blas.h"
#include "quant/half_products.h"
#include "quant/slabs.h"

namespace watersic {
namespace {

constexpr double kStop = 1e-3;  // relative change of J
constexpr int kMaxRounds = 25;
constexpr double kGammaLow = -0.1, kGammaHigh = 1.5;

double ridge(const std::vector<double>& diagonal) {
  double mean = 0;
  for (const double d : diagonal) mean += std::fabs(d);
  return std::max(1e-11, 1e-8 * mean / static_cast<double>(std::max<size_t>(1, diagonal.size())));
}

class Rescaler {
 public:
  Rescaler(ThreadPool& pool, MatrixView<const int32_t> Z, const std::vector<double>& alpha,
           MatrixView<const float> C, MatrixView<const float> S, double w2)
      : pool_(pool), Z_(Z), C_(C), S_(S), alpha_(alpha), a_(Z.rows()), n_(Z.cols()), w2_(w2) {}

  // J as a function of gamma, for a fixed t, is w2 - 2 gamma.d + gamma^T G gamma with
  // d = diag(Zt^T C), G = S o Zt^T Zt, Zt = diag(t) W0, W0 = Z diag(alpha). Improves gamma; returns
  // false where no step lowers J.
  bool step_gamma(const std::vector<double>& t, std::vector<double>& gamma) {
    // G shows the way, J is reckoned without it.
    std::vector<double> d(static_cast<size_t>(n_)), diagonal(static_cast<size_t>(n_));
    G_ = Matrix<float>(n_, n_);
    static_assert(kWideRows % kGramRows == 0);
    for (int64_t lo = 0; lo < a_; lo += kWideRows) {
      Matrix<float> M(std::min(kWideRows, a_ - lo), n_);
      constexpr int64_t kTile = 64;
      pool_.parallel_for(tile_count(n_, kTile), [&](int64_t tile) {
        const int64_t begin = tile * kTile, end = std::min(n_, begin + kTile);
        for (int64_t k = 0; k < M.rows(); ++k) {
          for (int64_t i = begin; i < end; ++i) {
            const double m = t[static_cast<size_t>(lo + k)] * value(lo + k, i);
            M(k, i) = static_cast<float>(m);
            d[static_cast<size_t>(i)] += m * static_cast<double>(C_(lo + k, i));
          }
        }
      });
      add_gram(pool_, M, G_.view());
    }
    pool_.parallel_for(n_, [&](int64_t i) {
      for (int64_t j = 0; j < n_; ++j) G_(i, j) *= S_(i, j);
    });
    for (int64_t i = 0; i < n_; ++i) diagonal[static_cast<size_t>(i)] = G_(i, i);

    const std::vector<double> gradient = product(gamma);
    const double before = quadratic(gamma, gradient, d);
    const double r = ridge(diagonal);
    const std::vector<double> target = solve(gamma, d, r);

    for (const double fraction : {1.0, 0.5, 0.25, 0.125, 0.0625}) {
      std::vector<double> tried(gamma.size());
      for (size_t i = 0; i < gamma.size(); ++i) {
        tried[i] = std::clamp(gamma[i] + fraction * (target[i] - gamma[i]), kGammaLow, kGammaHigh);
      }
      if (quadratic(tried, product(tried), d) <= before) {
        gamma = std::move(tried);
        return true;
      }
    }
    return false;
  }

  // For a fixed gamma, J = w2 - 2 t.p + sum_k t_k^2 q_k with p_k = C_k . M_k, q_k = M_k S M_k^T,
  // M = W0 diag(gamma): each row has its own minimum. Sets t, returns J.
  double step_t(const std::vector<double>& gamma, std::vector<double>& t) {
    const auto [p, q] = row_forms(gamma);
    const double r = ridge(q);
    for (size_t k = 0; k < t.size(); ++k) t[k] = p[k] / (q[k] + r);
    return objective(t, p, q);
  }

  double objective(const std::vector<double>& t, const std::vector<double>& gamma) {
    const auto [p, q] = row_forms(gamma);
    return objective(t, p, q);
  }

 private:
  struct RowForms {
    std::vector<double> p, q;
  };

  double value(int64_t k, int64_t i) const { return alpha_[static_cast<size_t>(i)] * Z_(k, i); }

  RowForms row_forms(const std::vector<double>& gamma) const {
    RowForms forms{std::vector<double>(static_cast<size_t>(a_)),
                   std::vector<double>(static_cast<size_t>(a_))};
    for (int64_t lo = 0; lo < a_; lo += kWideRows) {
      Matrix<float> M(std::min(kWideRows, a_ - lo), n_);
      pool_.parallel_for(M.rows(), [&](int64_t k) {
        double& p = forms.p[static_cast<size_t>(lo + k)];
        for (int64_t i = 0; i < n_; ++i) {
          M(k, i) = static_cast<float>(gamma[static_cast<size_t>(i)] * value(lo + k, i));
          p += static_cast<double>(M(k, i)) * static_cast<double>(C_(lo + k, i));
        }
      });
      half_products<float>(pool_, M, S_, [&](int64_t left, const Matrix<float>& MS) {
        pool_.parallel_for(M.rows(), [&](int64_t k) {
          double& q = forms.q[static_cast<size_t>(lo + k)];
          for (int64_t i = 0; i < MS.cols(); ++i)
            q += static_cast<double>(M(k, left + i)) * static_cast<double>(MS(k, i));
        });
      });
    }
    return forms;
  }

  double objective(const std::vector<double>& t, const std::vector<double>& p,
                   const std::vector<double>& q) const {
    double sum = w2_;
    for (size_t k = 0; k < t.size(); ++k) sum += t[k] * (t[k] * q[k] - 2 * p[k]);
    return sum / static_cast<double>(a_ * n_);
  }

  std::vector<double> product(const std::vector<double>& gamma) const {
    std::vector<double> out(gamma.size());
    pool_.parallel_for(n_, [&](int64_t i) {
      double sum = 0;
      for (int64_t j = 0; j < n_; ++j)
        sum += static_cast<double>(G_(i, j)) * gamma[static_cast<size_t>(j)];
      out[static_cast<size_t>(i)] = sum;
    });
    return out;
  }

  static double quadratic(const std::vector<double>& gamma, const std::vector<double>& G_gamma,
                          const std::vector<double>& d) {
    double sum = 0;
    for (size_t i = 0; i < gamma.size(); ++i) sum += gamma[i] * (G_gamma[i] - 2 * d[i]);
    return sum;
  }

  // (G + ridge I) x = d by conjugate gradients from x, preconditioned by the diagonal, which is the
  // most of G: columns of integers are nearly orthogonal. What comes of it is tried, and must lower
  // J.
  std::vector<double> solve(std::vector<double> x, const std::vector<double>& d,
                            double ridge) const {
    constexpr int kMostSteps = 60;
    constexpr double kPrecise = 1e-12;  // of |r|^2 in the preconditioner's metric
    const auto size = static_cast<size_t>(n_);
    const auto ridged = [&](const std::vector<double>& v) {
      std::vector<double> out = product(v);
      for (size_t i = 0; i < size; ++i) out[i] += ridge * v[i];
      return out;
    };
    std::vector<double> r = ridged(x), p(size);
    for (size_t i = 0; i < size; ++i) r[i] = d[i] - r[i];
    const auto conditioned = [&](size_t i) {
      const double g = ridge + G_(static_cast<int64_t>(i), static_cast<int64_t>(i));
      return g > 0 ? r[i] / g : 0.0;
    };
    double rho = 0;
    for (size_t i = 0; i < size; ++i) {
      p[i] = conditioned(i);
      rho += r[i] * p[i];
    }
    const double enough = kPrecise * rho;
    for (int step = 0; step < kMostSteps && rho > enough; ++step) {
      const std::vector<double> Gp = ridged(p);
      double curvature = 0;
      for (size_t i = 0; i < size; ++i) curvature += p[i] * Gp[i];
      if (!(curvature > 0)) break;
      const double length = rho / curvature;
      double next = 0;
      for (size_t i = 0; i < size; ++i) {
        x[i] += length * p[i];
        r[i] -= length * Gp[i];
        next += r[i] * conditioned(i);
      }
      for (size_t i = 0; i < size; ++i) p[i] = conditioned(i) + next / rho * p[i];
      rho = next;
    }
    return x;
  }

  ThreadPool& pool_;
  MatrixView<const int32_t> Z_;
  MatrixView<const float> C_, S_;
  const std::vector<double>& alpha_;
  int64_t a_, n_;
  double w2_;
  Matrix<float> G_;
};

}  // namespace

Rescaled rescale(ThreadPool& pool, MatrixView<const int32_t> Z, const std::vector<double>& alpha,
                 std::vector<double> t, std::vector<double> gamma, MatrixView<const float> C,
                 MatrixView<const float> S, double w2) {
  Rescaler rescaler(pool, Z, alpha, C, S, w2);
  Rescaled best{.t = t, .gamma = gamma, .objective = rescaler.objective(t, gamma)};
  best.initial = best.objective;
  double last = best.objective;
  while (best.rounds < kMaxRounds && rescaler.step_gamma(t, gamma)) {
    ++best.rounds;
    const double J = rescaler.step_t(gamma, t);
    double mean = 0;
    for (const double x : t) mean += std::fabs(x) / static_cast<double>(t.size());
    if (!(mean > 0)) break;
    for (double& x : t) x /= mean;
    for (double& x : gamma) x *= mean;
    if (J < best.objective) {
      best.t = t;
      best.gamma = gamma;
      best.objective = J;
    }
    if (std::fabs(last - J) / (std::fabs(last) + 1e-12) < kStop) break;
    last = J;
  }
  return best;
}

std::vector<double> row_scales(ThreadPool& pool, MatrixView<const int32_t> Z,
                               const std::vector<double>& alpha, const std::vector<double>& gamma,
                               MatrixView<const float> C, MatrixView<const float> S) {
  std::vector<double> t(static_cast<size_t>(Z.rows()));
  Rescaler(pool, Z, alpha, C, S, 0).step_t(gamma, t);
  return t;
}

}  // namespace watersic
