#include "quant/layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/half.h"
#include "base/rotation.h"
#include "base/strands.h"
#include "linalg/blas.h"
#include "quant/columns.h"
#include "quant/means.h"
#include "quant/rounder.h"
#include "quant/sic.h"
#include "quant/slabs.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A seed that is not 0, which would mean that there is no rotation.
uint32_t rotation_seed(const QuantizerOptions& options) {
  return static_cast<uint32_t>(options.seed) * 2 + 1;
}

template <class T>
Matrix<T> transposed(MatrixView<const T> A) {
  Matrix<T> out(A.cols(), A.rows());
  constexpr int64_t kTile = 32;  // both sides of a tile stay in cache
  for (int64_t i = 0; i < A.rows(); i += kTile)
    for (int64_t j = 0; j < A.cols(); j += kTile)
      for (int64_t r = i; r < std::min(A.rows(), i + kTile); ++r)
        for (int64_t c = j; c < std::min(A.cols(), j + kTile); ++c) out(c, r) = A(r, c);
  return out;
}

// W itself takes the place of Y where nothing is cancelled: L = I.
class NoCancellation {
 public:
  template <class Quantizer>
  static void run(int64_t panel, MatrixView<float> Yt, Quantizer& quantizer,
                  MatrixView<int32_t> Zt) {
    const int64_t n = Yt.rows();
    Matrix<float> identity;
    for (int64_t hi = n; hi > 0; hi -= panel) {
      const int64_t lo = std::max<int64_t>(0, hi - panel);
      if (identity.rows() != hi - lo) {
        identity = Matrix<float>(hi - lo, hi - lo);
        for (int64_t i = 0; i < hi - lo; ++i) identity(i, i) = 1;
      }
      quantizer.begin_panel(lo, hi, Yt.block(lo, 0, hi - lo, Yt.cols()), identity);
      for (int64_t i = lo; i < hi; ++i) quantizer.quantize(i, Yt.row(i), Zt.row(i));
    }
  }
};

}  // namespace

LayerQuantizer::LayerQuantizer(ThreadPool& pool, const LayerProblem& problem,
                               const QuantizerOptions& options)
    : pool_(pool), problem_(problem), options_(options), settled_(settled(options)) {
  if (options.rotate) rotate();
  coded_row_ = all_rows(problem.W.rows());
  if (minds_outputs() && problem.heads > 1) {
    strands_ = problem.heads;
    order_rows(strand_order(problem.W.rows(), strands_));
  }
  if (!uses_statistics(options.method) || options.rotate) {
    // RTN looks at no statistics, and a rotation mixes dead features with the others.
    columns_.live.resize(static_cast<size_t>(problem.W.cols()));
    std::iota(columns_.live.begin(), columns_.live.end(), 0);
  } else {
    columns_ = find_live(problem.S, settled_.dead_threshold);
  }
  choose_order();
  for (const int32_t i : order_) in_loop_.live.push_back(columns_.live[static_cast<size_t>(i)]);
  // Without a factor yet: its diagonal at least, for the first step.
  diagonal_.assign(order_.size(), 1.0);
  if (uses_statistics(options.method)) {
    form_target();
    if (minds_outputs()) factor_metric();
  }
  if (options.layout == Layout::kRunnable) sort_rows();
  const int64_t a = problem_.W.rows();
  std::vector<double> squares(static_cast<size_t>(a));
  std::vector<float> largest(squares.size());
  pool_.parallel_for(a, [&](int64_t k) {
    const auto row = static_cast<size_t>(k);
    for (int64_t i = 0; i < live(); ++i) {
      const float w = target(k, i);
      squares[row] += static_cast<double>(w) * w;
      largest[row] = std::max(largest[row], std::fabs(w));
    }
  });
  for (const double sum : squares) variance_ += sum / static_cast<double>(a * live());
  for (const float w : largest) largest_ = std::max(largest_, w);
}

// W R and R^T S R.
void LayerQuantizer::rotate() {
  const int64_t n = problem_.W.cols();
  const RandomRotation rotation(n, rotation_seed(options_));
  rotated_W_ = Matrix<float>(problem_.W.rows(), n);
  pool_.parallel_for(rotated_W_.rows(), [&](int64_t k) {
    std::copy(problem_.W.row(k).begin(), problem_.W.row(k).end(), rotated_W_.row(k).begin());
    rotation.apply(rotated_W_.row(k));
  });
  rotated_S_ = Matrix<double>(n, n);
  for (int64_t i = 0; i < n; ++i)
    std::copy(metric().row(i).begin(), metric().row(i).end(), rotated_S_.row(i).begin());
  // Rows, then columns as rows of the transpose: R^T (S R) = ((S R)^T R)^T.
  for (int side = 0; side < 2; ++side) {
    pool_.parallel_for(n, [&](int64_t i) { rotation.apply(rotated_S_.row(i)); });
    rotated_S_ = transposed<double>(rotated_S_);
  }
  problem_ = {.W = rotated_W_, .S = rotated_S_};
}

bool LayerQuantizer::minds_outputs() const {
  return has_column_steps(options_.method) && problem_.output_metric.rows() > 0;
}

// From here on row k is what was row order[k].
void LayerQuantizer::order_rows(std::span<const int64_t> order) {
  const auto ordered = [&](auto from, auto& to) {
    if (from.rows() == 0) return from;
    std::remove_reference_t<decltype(to)> out(from.rows(), from.cols());
    for (int64_t k = 0; k < out.rows(); ++k)
      std::ranges::copy(from.row(order[static_cast<size_t>(k)]), out.row(k).begin());
    to = std::move(out);
    return decltype(from)(to);
  };
  problem_.W = ordered(problem_.W, ordered_W_);
  problem_.lost = ordered(problem_.lost, ordered_lost_);
  problem_.lost_contrast = ordered(problem_.lost_contrast, ordered_contrast_);
  if (!T_.empty()) ordered(MatrixView<const float>(T_), T_);
  std::vector<int64_t> coded;
  for (const int64_t k : order) coded.push_back(coded_row_[static_cast<size_t>(k)]);
  coded_row_ = std::move(coded);
}

void LayerQuantizer::factor_metric() {
  int64_t group_rows = output_group_rows(problem_.W.rows());
  if (options_.layout == Layout::kRunnable) group_rows = bitshift_tiles(group_rows) * kBitshiftRows;
  outputs_ = factor_outputs(pool_, problem_.output_metric, group_rows, coded_row_);
}

// The loop goes from the last column to the first. GPTQ's own order is first to last.
void LayerQuantizer::choose_order() {
  order_.resize(columns_.live.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto moment = [&](int32_t i) {
    const int32_t j = columns_.live[static_cast<size_t>(i)];
    return problem_.S(j, j);
  };
  // GPTQ's activation order does large ones first: they stand last.
  const ColumnOrder order = options_.activation_order ? ColumnOrder::kRising : options_.order;
  if (order == ColumnOrder::kFalling) {
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int32_t x, int32_t y) { return moment(x) > moment(y); });
  } else if (order == ColumnOrder::kRising) {
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int32_t x, int32_t y) { return moment(x) < moment(y); });
  } else if (!has_column_steps(options_.method)) {
    std::reverse(order_.begin(), order_.end());
  }
}

// With shrinkage lambda the loop minimises |W - V|^2 under S, plus delta |V|^2 with
// delta = lambda c^2 / mean(W^2), a stand-in for the rate: L L^T = S + d I + delta I, and the
// target is Y = (W (S + d I)) L^{-T} = W L - delta W L^{-T}.
void LayerQuantizer::prepare(double step) {
  if (!uses_statistics(options_.method)) return;
  const double shrinkage = settled_.shrinkage;
  const double extra = shrinkage > 0 && variance_ > 0 ? shrinkage * step * step / variance_ : 0.0;
  // Factoring is dear, and a fifth more or less does not matter.
  if (extra_ > 0 && extra > 0.8 * extra_ && extra < 1.25 * extra_) return;
  if (extra != extra_) factor(extra);
}

// S' of the live columns in the order of the loop, with (damping * mean + extra) on the diagonal.
Matrix<double> LayerQuantizer::damped_metric(double extra) const {
  Matrix<double> A = live_block(pool_, metric(), in_loop_);
  const double mean = mean_diagonal(A);
  for (int64_t i = 0; i < live(); ++i) A(i, i) += settled_.damping * mean + extra;
  return A;
}

void LayerQuantizer::factor(double extra) {
  Matrix<double> factor = damped_metric(extra);
  if (const int64_t failed = cholesky(pool_, factor); failed >= 0) {
    throw Error(fmt::format("the covariance is not positive definite at column {}",
                            in_loop_.live[static_cast<size_t>(failed)]));
  }
  use_factor(factor, extra);
}

void LayerQuantizer::use_factor(const Matrix<double>& factor, double extra) {
  L_ = Matrix<float>(live(), live());
  pool_.parallel_for(live(), [&](int64_t i) {
    diagonal_[static_cast<size_t>(i)] = factor(i, i);
    for (int64_t j = 0; j <= i; ++j) L_(i, j) = static_cast<float>(factor(i, j));
  });
  extra_ = extra;
}

// Rows of the target, in the order of the loop.
Matrix<float> LayerQuantizer::target(std::span<const int64_t> rows) const {
  Matrix<float> T(static_cast<int64_t>(rows.size()), live());
  pool_.parallel_for(T.rows(), [&](int64_t k) {
    for (int64_t i = 0; i < live(); ++i) T(k, i) = target(rows[static_cast<size_t>(k)], i);
  });
  return T;
}

// Y^T, (T L)^T or with shrinkage (T S' L^{-T})^T, where T are these rows of the target; each times
// its root of the outputs' metric.
Matrix<float> LayerQuantizer::in_loop_domain(Matrix<float> T, std::span<const int64_t> rows) const {
  constexpr int64_t kTile = 32;
  Matrix<float> Yt(live(), T.rows());
  multiply_lower(pool_, T, L_, Yt.view());
  if (extra_ > 0) {
    solve_right_lower(pool_, Op::kTranspose, L_, T);
    const auto delta = static_cast<float>(extra_);
    pool_.parallel_for(tile_count(T.rows(), kTile), [&](int64_t tile) {
      const int64_t begin = tile * kTile, end = std::min(T.rows(), begin + kTile);
      for (int64_t i = 0; i < live(); ++i)
        for (int64_t k = begin; k < end; ++k) Yt(i, k) -= delta * T(k, i);
    });
  }
  if (outputs_.empty()) return Yt;
  std::vector<float> roots;
  for (const int64_t k : rows)
    roots.push_back(static_cast<float>(outputs_.root[static_cast<size_t>(k)]));
  pool_.parallel_for(live(), [&](int64_t i) {
    for (int64_t k = 0; k < T.rows(); ++k) Yt(i, k) *= roots[static_cast<size_t>(k)];
  });
  return Yt;
}

bool LayerQuantizer::has_step() const {
  return !is_grid(options_.method) && options_.layout == Layout::kEntropy;
}

// At high rate a Gaussian of deviation s rounded with step d has log2(s/d) + 1/2 log2(2 pi e) bits.
// With the steps c / L_ii every column's step is c in the rotated domain, where its deviation is
// about rms(W[:, i]) L_ii; a uniform step d is d L_ii there.
double LayerQuantizer::initial_step(double bits) const {
  constexpr int64_t kTile = 64;
  std::vector<double> squares(order_.size());
  pool_.parallel_for(tile_count(live(), kTile), [&](int64_t tile) {
    const int64_t begin = tile * kTile, end = std::min(live(), begin + kTile);
    for (int64_t k = 0; k < problem_.W.rows(); ++k)
      for (int64_t i = begin; i < end; ++i)
        squares[static_cast<size_t>(i)] += static_cast<double>(target(k, i)) * target(k, i);
  });
  double log_sum = 0;
  int64_t columns = 0;
  for (int64_t i = 0; i < live(); ++i) {
    const double square = squares[static_cast<size_t>(i)];
    if (square <= 0) continue;
    const double scale =
        has_column_steps(options_.method) ? diagonal_[static_cast<size_t>(i)] : 1.0;
    log_sum += 0.5 * std::log2(square / static_cast<double>(problem_.W.rows())) + std::log2(scale);
    ++columns;
  }
  if (columns == 0) return 1.0;
  const double entropy_at_unit_step = 0.5 * std::log2(2 * std::numbers::pi * std::numbers::e);
  return std::exp2(log_sum / static_cast<double>(columns) + entropy_at_unit_step - bits);
}

QuantizedLayer LayerQuantizer::quantize(double step, std::span<const int64_t> some) const {
  if (some.empty() && outputs_.feedback.rows() > 0) return quantize_groups(step);
  const std::vector<int64_t> rows =
      some.empty() ? all_rows(problem_.W.rows()) : std::vector<int64_t>(some.begin(), some.end());
  const auto a = static_cast<int64_t>(rows.size());
  QuantizedLayer out = empty_layer(a);
  if (has_step() && settled_.trellis > 0) {
    out.trellis = settled_.trellis;
    out.segment_rows = segment_rows(a);
  }
  if (options_.rotate) out.rotation = rotation_seed(options_);
  // LMMSE looks at a whole column before it goes on.
  over_slabs(
      rows, settled_.lmmse ? std::max<int64_t>(1, a) : slab_rows(a),
      [&](std::span<const int64_t> slab, int64_t at) { quantize_slab(step, slab, at, out); });
  for (std::vector<double>* values : {&out.alpha, &out.gamma})
    if (values->size() > 1) *values = from_loop(*values);
  if (!outputs_.empty())
    for (const int64_t k : rows) out.t.push_back(1 / outputs_.root[static_cast<size_t>(k)]);
  return out;
}

QuantizedLayer LayerQuantizer::empty_layer(int64_t rows) const {
  return {.rows = rows,
          .cols = problem_.W.cols(),
          .columns = columns_,
          .Z = Matrix<int32_t>(rows, live()),
          .strands = sorted_ ? 1 : strands_};
}

// Rows [at, at + rows.size()) of `out`, which are these of the layer.
void LayerQuantizer::quantize_slab(double step, std::span<const int64_t> rows, int64_t at,
                                   QuantizedLayer& out) const {
  const auto n = live(), a = static_cast<int64_t>(rows.size());
  const bool rtn = !uses_statistics(options_.method);
  Matrix<float> Yt = rtn ? transposed<float>(target(rows)) : in_loop_domain(target(rows), rows);
  Matrix<int32_t> Zt(n, a);
  const auto run = [&](auto& quantizer, int64_t panel) {
    if (rtn) {
      NoCancellation::run(panel > 0 ? panel : std::max<int64_t>(1, n), Yt.view(), quantizer,
                          Zt.view());
    } else {
      cancel_successively<float>(pool_, L_, Yt, panel, quantizer, Zt);
    }
  };
  Rounder rounder(pool_, out.trellis, out.segment_rows);
  if (has_column_steps(options_.method)) {
    ZsicQuantizer<float> quantizer(pool_, rounder, step, settled_.lmmse, diagonal_);
    run(quantizer, 0);
    out.alpha = quantizer.alpha();
    out.gamma = quantizer.lmmse_factor();
  } else if (!is_grid(options_.method)) {
    const double stored = round_to_half(step, half_exponent(step));
    UniformQuantizer<float> quantizer(pool_, rounder, stored, diagonal_);
    run(quantizer, 0);
    out.alpha = {stored};
  } else {
    // 2^4 of headroom: what is carried into a later group can exceed the weights given.
    const int exponent = largest_ > 0 ? half_exponent(static_cast<double>(largest_)) + 4 : 0;
    GridQuantizer<float> quantizer(pool_, static_cast<int>(options_.bits), exponent, diagonal_);
    const int64_t size = options_.group_size;
    run(quantizer, size);
    const auto& scales = quantizer.scales();
    if (size > 0 && size < n) {
      if (at == 0) out.group_scale = Matrix<double>(out.rows, static_cast<int64_t>(scales.size()));
      for (size_t g = 0; g < scales.size(); ++g)
        for (int64_t k = 0; k < a; ++k)
          out.group_scale(at + k, static_cast<int64_t>(g)) = scales[g][static_cast<size_t>(k)];
      out.column_group.resize(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) {
        out.column_group[static_cast<size_t>(order_[static_cast<size_t>(i)])] =
            static_cast<int32_t>((n - 1 - i) / size);
      }
    } else if (!scales.empty()) {
      out.t.insert(out.t.end(), scales.front().begin(), scales.front().end());
    }
  }
  put_integers(Zt, at, out.Z);
}

// From columns in the order of the loop to rows from `at` on, in the columns' own.
void LayerQuantizer::put_integers(MatrixView<const int32_t> Zt, int64_t at,
                                  Matrix<int32_t>& Z) const {
  constexpr int64_t kTile = 32;
  pool_.parallel_for(tile_count(Zt.cols(), kTile), [&](int64_t tile) {
    const int64_t begin = tile * kTile, end = std::min(Zt.cols(), begin + kTile);
    for (int64_t i = 0; i < live(); ++i)
      for (int64_t k = begin; k < end; ++k) Z(at + k, order_[static_cast<size_t>(i)]) = Zt(i, k);
  });
}

double LayerQuantizer::objective(MatrixView<const float> V) const {
  Matrix<double> E(V.rows(), live());
  for (int64_t k = 0; k < V.rows(); ++k) {
    for (int64_t i = 0; i < live(); ++i) {
      const auto j = static_cast<size_t>(order_[static_cast<size_t>(i)]);
      E(k, static_cast<int64_t>(j)) = static_cast<double>(target(k, i)) - V(k, columns_.live[j]);
    }
  }
  Matrix<double> room;
  return quadratic_trace(pool_, E, live_view(pool_, metric(), columns_, room)) /
         static_cast<double>(std::max<int64_t>(1, V.size()));
}

// Rows that are quantized before the others make good what they have done: few, since within a
// group nothing is made good; but where a path through the trellis is cut, it costs as much as its
// start, 2.2 bits with 64 states.
int64_t output_group_rows(int64_t rows) { return std::clamp<int64_t>(rows / 8, 64, 256); }

}  // namespace watersic
