// A layer's target: its weights, and what of the drift and of lost outputs they are to mend.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "linalg/blas.h"
#include "quant/layer.h"
#include "quant/slabs.h"
#include "watersic/error.h"

namespace watersic {

// W M + R of some rows, each where it is there; columns in the order of the loop.
Matrix<float> LayerQuantizer::in_loop_rows(std::span<const int64_t> rows, MatrixView<const float> M,
                                           MatrixView<const float> R) const {
  const auto a = static_cast<int64_t>(rows.size());
  Matrix<float> out(a, live());
  if (M.rows() > 0) {
    Matrix<float> W(a, live());
    pool_.parallel_for(a, [&](int64_t k) {
      for (int64_t i = 0; i < live(); ++i)
        W(k, i) = problem_.W(rows[static_cast<size_t>(k)], in_loop_.live[static_cast<size_t>(i)]);
    });
    gemm(pool_, Op::kNone, Op::kNone, 1.0F, W, M, 0.0F, out);
  }
  if (R.rows() == 0) return out;
  pool_.parallel_for(a, [&](int64_t k) {
    for (int64_t i = 0; i < live(); ++i)
      out(k, i) += R(rows[static_cast<size_t>(k)], in_loop_.live[static_cast<size_t>(i)]);
  });
  return out;
}

// How much of each column of Z = D L^{-T} is more than chance (James and Stein, with the contrast N
// of D as the noise): 1 - |N L^{-T}|^2 / |D L^{-T}|^2, over some rows and neighbouring columns: one
// column's noise is itself known badly.
std::vector<float> LayerQuantizer::trusted_shares(MatrixView<const float> drift) const {
  constexpr int64_t kRows = 1024, kColumns = 16;
  std::vector<float> out(static_cast<size_t>(live()), 1.0F);
  if (problem_.drift_contrast.rows() == 0 && problem_.lost_contrast.rows() == 0) return out;
  Matrix<float> room;
  MatrixView<const float> contrast;
  if (problem_.drift_contrast.rows() > 0)
    contrast = live_view(pool_, problem_.drift_contrast, in_loop_, room);
  const int64_t a = problem_.W.rows();
  std::vector<int64_t> rows(static_cast<size_t>(std::min(a, kRows)));
  for (size_t k = 0; k < rows.size(); ++k)
    rows[k] = static_cast<int64_t>(k) * a / static_cast<int64_t>(rows.size());
  Matrix<float> Z = in_loop_rows(rows, drift, problem_.lost),
                N = in_loop_rows(rows, contrast, problem_.lost_contrast);
  for (Matrix<float>* M : {&Z, &N}) solve_right_lower(pool_, Op::kTranspose, L_, *M);
  for (int64_t begin = 0; begin < live(); begin += kColumns) {
    const int64_t end = std::min(live(), begin + kColumns);
    double chance = 0, energy = 0;
    for (int64_t k = 0; k < Z.rows(); ++k) {
      for (int64_t i = begin; i < end; ++i) {
        chance += static_cast<double>(N(k, i)) * N(k, i);
        energy += static_cast<double>(Z(k, i)) * Z(k, i);
      }
    }
    const double share = energy > chance ? 1 - chance / energy : 0;
    std::fill(out.begin() + begin, out.begin() + end, static_cast<float>(share));
  }
  return out;
}

// T = W + D (S' + d I)^{-1}, D = W E[(x - x') x'^T] + E[l x'^T], of D what is trusted. The factor
// is of float64, since S' is badly conditioned; what it makes of D is in float32, far above whose
// rounding D's chance is. Climbs the ladder of damping: what can't be factored is tried with ten
// times as much, up to kMostDamping.
void LayerQuantizer::form_target() {
  constexpr double kMostDamping = 0.1;
  for (;;) {
    Matrix<double> L = damped_metric(0);
    const int64_t failed = cholesky(pool_, L);
    if (failed < 0) {
      use_factor(L, 0);
      break;
    }
    const double more = std::max(10 * settled_.damping, 1e-6);
    if (more > kMostDamping * 1.0001) {
      throw Error(fmt::format(
          "the covariance is not positive definite at column {} with damping {:g} of its mean "
          "diagonal",
          in_loop_.live[static_cast<size_t>(failed)], settled_.damping));
    }
    settled_.damping = more;
  }
  if (problem_.drift.rows() == 0 && problem_.lost.rows() == 0) return;
  Matrix<float> room;
  MatrixView<const float> drift;
  if (problem_.drift.rows() > 0) drift = live_view(pool_, problem_.drift, in_loop_, room);
  const std::vector<float> trusted = trusted_shares(drift);
  Matrix<float> target(problem_.W.rows(), live());
  over_slabs(all_rows(target.rows()), kWideRows, [&](std::span<const int64_t> rows, int64_t at) {
    Matrix<float> T = in_loop_rows(rows, drift, problem_.lost);
    solve_right_lower(pool_, Op::kTranspose, L_, T);
    pool_.parallel_for(T.rows(), [&](int64_t k) {
      for (int64_t i = 0; i < live(); ++i) T(k, i) *= trusted[static_cast<size_t>(i)];
    });
    solve_right_lower(pool_, Op::kNone, L_, T);
    pool_.parallel_for(T.rows(), [&](int64_t k) {
      for (int64_t i = 0; i < live(); ++i)
        target(at + k, i) = problem_.W(at + k, in_loop_.live[static_cast<size_t>(i)]) + T(k, i);
    });
  });
  T_ = std::move(target);
}

}  // namespace watersic
