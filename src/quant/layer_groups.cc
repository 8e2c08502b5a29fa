// Quantizing under a metric of the outputs as well (docs/algorithm.md, "Two-sided"): rows go group
// by group, first to last, and each group's target makes good what the groups before it have done.
#include <algorithm>

#include "linalg/blas.h"
#include "quant/columns.h"
#include "quant/layer.h"
#include "quant/rounder.h"
#include "quant/sic.h"
#include "quant/slabs.h"

namespace watersic {

QuantizedLayer LayerQuantizer::quantize_groups(double step) const {
  QuantizedLayer out = empty_layer(problem_.W.rows());
  out.trellis = settled_.trellis;
  out.segment_rows = settled_.trellis > 0 ? out.rows : 0;
  Rounder rounder(pool_, settled_.trellis, out.rows);
  // Where each column's path through the trellis stands. (Letting a path look at the rows behind
  // its group before it is cut gained nothing: they are about to change.)
  std::vector<int> states(static_cast<size_t>(live()));
  over_groups(out, 0, [&](int64_t lo, int64_t, MatrixView<float> Yt, MatrixView<int32_t> Zt) {
    rounder.follow(states);
    ZsicQuantizer<float> quantizer(pool_, rounder, step, false, diagonal_);
    cancel_successively<float>(pool_, L_, Yt, 0, quantizer, Zt);
    if (lo == 0) out.alpha = quantizer.alpha();
  });
  out.alpha = from_loop(out.alpha);
  for (const double root : outputs_.root) out.t.push_back(1 / root);
  return out;
}

void LayerQuantizer::over_groups(QuantizedLayer& out, int64_t behind, const GroupFn& run) const {
  const int64_t a = out.rows, n = live(), size = outputs_.group_rows;
  Matrix<float> E(a, n);  // what the values are off the target, of the groups that are done
  const std::vector<int64_t> every = all_rows(a);
  out.target = target(every);
  for (int64_t lo = 0; lo < a; lo += size) {
    const int64_t hi = std::min(a, lo + size), rows = std::min(a, hi + behind) - lo;
    Matrix<float> group(rows, n);
    pool_.parallel_for(
        rows, [&](int64_t k) { std::ranges::copy(out.target.row(lo + k), group.row(k).begin()); });
    if (lo > 0)
      gemm(pool_, Op::kNone, Op::kNone, -1.0F, outputs_.feedback.view().block(lo, 0, rows, lo),
           E.view().block(0, 0, lo, n), 1.0F, group.view());
    pool_.parallel_for(hi - lo, [&](int64_t k) {
      std::ranges::copy(group.row(k), out.target.row(lo + k).begin());
    });
    Matrix<float> Yt = in_loop_domain(
        std::move(group),
        std::span(every).subspan(static_cast<size_t>(lo), static_cast<size_t>(rows)));
    Matrix<int32_t> Zt(n, rows);
    run(lo, hi - lo, Yt.view(), Zt.view());
    constexpr int64_t kTile = 32;  // both sides of a tile stay in cache
    pool_.parallel_for(tile_count(hi - lo, kTile), [&](int64_t tile) {
      const int64_t begin = lo + tile * kTile, end = std::min(hi, begin + kTile);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t k = begin; k < end; ++k)
          E(k, i) = Yt(i, k - lo) / static_cast<float>(outputs_.root[static_cast<size_t>(k)]) -
                    target(k, i);
    });
    put_integers(Zt.view().block(0, 0, n, hi - lo), lo, out.Z);
  }
}

}  // namespace watersic
