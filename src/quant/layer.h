// The room's door: one layer's weights and statistics to integers and scales, by any method.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "base/threads.h"
#include "quant/bitshift_plan.h"
#include "quant/method.h"
#include "quant/output_metric.h"
#include "quant/problem.h"
#include "watersic/options.h"

namespace watersic {

// Holds what does not depend on the step, or hardly: live columns, the target, the factor L. Of an
// embedding or output head a matrix more is more memory than all else takes, so that what can be
// had from the weights again, slab by slab, is not kept (Y), and what is summed over rows in
// float64 is never there whole. With the step, the factor and the scales of columns given rows
// don't see each other, but for the trellis: slabs are whole segments of it.
//
// With D = W E[(x - x') x'^T] + E[l x'^T] the layer minimises, up to a constant,
// tr((T - V) S' (T - V)^T) with the target T = W + D S'^{-1}, damped: T = W + D (S' + d I)^{-1}. So
// whatever the moments, the loop sees one matrix, T, and one metric, S'. In the plain problem T = W
// and S' = S. D is a regression on as many inputs as the layer has: what chance makes of it is left
// out (trusted_shares).
class LayerQuantizer {
 public:
  // `problem` must outlive the quantizer.
  LayerQuantizer(ThreadPool& pool, const LayerProblem& problem, const QuantizerOptions& options);

  const LiveSet& columns() const { return columns_; }
  int64_t live() const { return static_cast<int64_t>(columns_.live.size()); }
  bool has_step() const;  // whether the rate is set by a step; otherwise by a grid
  // As used: more than asked for where S' could not be factored otherwise.
  double damping() const { return settled_.damping; }

  // Forms L and Y as they shall be for steps near this one. Must come before quantize(). Throws
  // Error where S' can't be factored with the most damping of the ladder.
  void prepare(double step);

  // The step at which, at high rate, the live integers' entropy is `bits` a live weight.
  double initial_step(double bits) const;

  // The integers (rows.size() x live) that a step gives these rows (all rows if empty), and the
  // scales as the loop leaves them: LMMSE but no rescalers. For the grid methods the step is
  // ignored.
  QuantizedLayer quantize(double step, std::span<const int64_t> rows = {}) const;

  // The runnable layout: rates such that the payload takes `bytes` at most, and what else is known
  // before the layer is quantized with them. Forms L as it shall be.
  BitshiftPlan plan(int64_t bytes);
  QuantizedLayer quantize(const BitshiftPlan& plan) const;
  // What a plan's matrix is stored as, but for exceptions.
  Bitshift planned(const BitshiftPlan& plan) const;
  // The scales that a plan begins with, which the rescalers will change by a little.
  void set_scales(const BitshiftPlan& plan, QuantizedLayer& layer) const;

  // Refits the scales to the integers (watersic with rescalers; otherwise does nothing): the
  // columns' to some rows, those that count most or else evenly spread; then each row's own.
  static constexpr int64_t rescaled_rows(int64_t rows) {
    return std::min(rows, std::max<int64_t>(512, rows / 16));
  }
  void rescale(QuantizedLayer& layer) const;

  // tr((T - V) S' (T - V)^T) / (a n): what the loop minimises. V: as dequantized, a x n.
  double objective(MatrixView<const float> V) const;

 private:
  // S'.
  MatrixView<const double> metric() const {
    return problem_.S_quantized.rows() > 0 ? problem_.S_quantized : problem_.S;
  }
  bool minds_outputs() const;
  void rotate();
  void order_rows(std::span<const int64_t> order);
  void factor_metric();
  void sort_rows();
  void choose_order();
  void form_target();
  Matrix<double> damped_metric(double extra) const;
  Matrix<float> in_loop_rows(std::span<const int64_t> rows, MatrixView<const float> M,
                             MatrixView<const float> R) const;
  std::vector<float> trusted_shares(MatrixView<const float> drift) const;
  void factor(double extra);
  void use_factor(const Matrix<double>& L, double extra);
  // Of the target.
  float target(int64_t k, int64_t i) const {
    return T_.empty() ? problem_.W(k, in_loop_.live[static_cast<size_t>(i)]) : T_(k, i);
  }
  Matrix<float> target(std::span<const int64_t> rows) const;
  Matrix<float> in_loop_domain(Matrix<float> T, std::span<const int64_t> rows) const;
  void quantize_slab(double step, std::span<const int64_t> rows, int64_t at,
                     QuantizedLayer& out) const;
  QuantizedLayer quantize_groups(double step) const;
  // Quantizes rows group by group: `run` is given each one's part of Y^T, which it turns to values,
  // and of the integers; and `behind` of the rows that follow, as they stand: what becomes of those
  // is not kept.
  using GroupFn =
      std::function<void(int64_t lo, int64_t rows, MatrixView<float> Yt, MatrixView<int32_t> Zt)>;
  void over_groups(QuantizedLayer& out, int64_t behind, const GroupFn& run) const;
  QuantizedLayer empty_layer(int64_t rows) const;
  // From the loop's order to the columns' own.
  template <class T>
  std::vector<T> from_loop(const std::vector<T>& values) const {
    std::vector<T> out(values.size());
    for (size_t i = 0; i < values.size(); ++i) out[static_cast<size_t>(order_[i])] = values[i];
    return out;
  }
  std::vector<double> row_spread() const;
  void put_integers(MatrixView<const int32_t> Zt, int64_t at, Matrix<int32_t>& Z) const;
  std::vector<int64_t> rows_to_rescale() const;
  Matrix<float> rescaled_moment(const QuantizedLayer& layer, MatrixView<const float> S,
                                std::span<const int64_t> rows, double& w2) const;

  ThreadPool& pool_;
  LayerProblem problem_;  // as given, or rotated
  QuantizerOptions options_;
  SettledOptions settled_;
  Matrix<float> rotated_W_;  // only with a rotation
  Matrix<double> rotated_S_;
  // Only where rows are coded in another order: W and what is lost in that.
  Matrix<float> ordered_W_;
  Matrix<float> ordered_lost_, ordered_contrast_;
  int64_t strands_ = 1;
  bool sorted_ = false;             // rows are in an order of their own
  std::vector<int64_t> coded_row_;  // the row of the problem as given that is coded as the k-th
  double variance_ = 0;             // mean square of the target
  float largest_ = 0;               // magnitude in it
  LiveSet columns_;
  std::vector<int32_t> order_;    // position in the loop -> index among live columns
  LiveSet in_loop_;               // the live columns in the order of the loop
  Matrix<float> T_;               // a x live, likewise: the target; empty: W
  Matrix<float> L_;               // live x live, likewise; empty for the rtn methods
  std::vector<double> diagonal_;  // of L
  OutputFactor outputs_;          // empty without a metric of the outputs
  double extra_ = -1;  // on the diagonal of S in L, besides damping; < 0: not factored yet
};

// Rows of a group, where a metric of the outputs is minded.
int64_t output_group_rows(int64_t rows);

}  // namespace watersic
