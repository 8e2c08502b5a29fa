// Quantizing under a metric of the outputs as well (docs/algorithm.md, "Two-sided"): rows go group
// by group, first to last, and each group's target makes good what the groups before it have done.
#include <algorithm>
#include <cassert>

#include "linalg/blas.h"
#include "quant/columns.h"
#include "quant/layer.h"
#include "quant/rescale.h"
#include "quant/rounder.h"
#include "quant/sic.h"

namespace watersic {

QuantizedLayer LayerQuantizer::quantize_groups(double step) const {
  const int64_t a = W_.rows(), n = live(), size = outputs_.group_rows;
  // Without feedback all rows are one group, and nothing makes its paths long ones.
  const bool feedback = outputs_.feedback.rows() > 0;
  const int64_t segment = feedback ? a : segment_rows(a);
  QuantizedLayer out{.rows = a,
                     .cols = problem_.W.cols(),
                     .columns = columns_,
                     .Z = Matrix<int32_t>(a, n),
                     .trellis = trellis_,
                     .segment_rows = trellis_ > 0 ? segment : 0,
                     .strands = strands_};
  Rounder rounder(pool_, trellis_, segment);
  // Where each column's path through the trellis stands. (Letting a path look at the rows behind
  // its group before it is cut gained nothing: they are about to change.)
  std::vector<int> states(static_cast<size_t>(n));
  Matrix<float> E(feedback ? a : 0,
                  n);  // what the values are off the target, of the groups that are done
  out.target = W_;
  for (int64_t lo = 0; lo < a; lo += size) {
    const int64_t hi = std::min(a, lo + size), rows = hi - lo;
    const MatrixView<float> T = out.target.view().block(lo, 0, rows, n);
    if (lo > 0)
      gemm(pool_, Op::kNone, Op::kNone, -1.0F, outputs_.feedback.view().block(lo, 0, rows, lo),
           E.view().block(0, 0, lo, n), 1.0F, T);
    Matrix<float> Yt = in_loop_domain(T, lo);
    Matrix<int32_t> Zt(n, rows);
    Matrix<float> Vt(n, rows);
    if (feedback) rounder.follow(states);
    ZsicQuantizer<float> quantizer(pool_, rounder, step, false, diagonal_);
    cancel_successively<float>(pool_, L_, Yt, 0, quantizer, Zt, Vt);
    if (lo == 0) out.alpha = quantizer.alpha();
    for (int64_t k = lo; k < hi; ++k) {
      const auto root = static_cast<float>(outputs_.root[static_cast<size_t>(k)]);
      for (int64_t i = 0; i < n; ++i) {
        out.Z(k, order_[static_cast<size_t>(i)]) = Zt(i, k - lo);
        if (feedback) E(k, i) = Vt(i, k - lo) / root - W_(k, i);
      }
    }
  }
  const std::vector<double> in_loop = out.alpha;
  for (size_t i = 0; i < in_loop.size(); ++i)
    out.alpha[static_cast<size_t>(order_[i])] = in_loop[i];
  for (const double root : outputs_.root) out.t.push_back(1 / root);
  return out;
}

// The rescalers' problem of the targets that the rows had, each row times its root: then the rows
// count alike.
void LayerQuantizer::rescale_groups(QuantizedLayer& layer) const {
  const Matrix<double> S = live_block(metric(), columns_);
  Matrix<double> T(layer.rows, live()), C(layer.rows, live());
  for (int64_t k = 0; k < layer.rows; ++k)
    for (int64_t i = 0; i < live(); ++i)
      T(k, order_[static_cast<size_t>(i)]) =
          outputs_.root[static_cast<size_t>(k)] * static_cast<double>(layer.target(k, i));
  gemm(pool_, Op::kNone, Op::kNone, 1.0, T, S, 0.0, C);
  double w2 = 0;
  for (size_t i = 0; i < T.values().size(); ++i) w2 += T.values()[i] * C.values()[i];
  std::vector<double> alpha = layer.alpha;
  if (layer.trellis > 0)
    for (double& x : alpha) x /= 2;  // of Z, which is twice the value
  Rescaled rescaled =
      watersic::rescale(pool_, layer.Z, alpha, std::vector<double>(alpha.size(), 1.0), C, S, w2);
  for (size_t k = 0; k < layer.t.size(); ++k) layer.t[k] = rescaled.t[k] / outputs_.root[k];
  layer.gamma = std::move(rescaled.gamma);
}

}  // namespace watersic
