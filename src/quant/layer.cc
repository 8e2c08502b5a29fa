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
#include "quant/rescale.h"
#include "quant/rounder.h"
#include "quant/sic.h"
#include "watersic/error.h"

namespace watersic {
namespace {

bool is_rtn(Method method) { return method == Method::kRtn || method == Method::kHuffmanRtn; }
bool is_grid(Method method) { return method == Method::kRtn || method == Method::kGptq; }

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
  static void run(int64_t panel, MatrixView<float> Yt, Quantizer& quantizer, MatrixView<int32_t> Zt,
                  MatrixView<float> Vt) {
    const int64_t n = Yt.rows();
    Matrix<float> identity;
    for (int64_t hi = n; hi > 0; hi -= panel) {
      const int64_t lo = std::max<int64_t>(0, hi - panel);
      if (identity.rows() != hi - lo) {
        identity = Matrix<float>(hi - lo, hi - lo);
        for (int64_t i = 0; i < hi - lo; ++i) identity(i, i) = 1;
      }
      quantizer.begin_panel(lo, hi, Yt.block(lo, 0, hi - lo, Yt.cols()), identity);
      for (int64_t i = lo; i < hi; ++i) quantizer.quantize(i, Yt.row(i), Zt.row(i), Vt.row(i));
    }
  }
};

}  // namespace

double default_damping(Method method) {
  return method == Method::kWatersic ? 1e-4 : is_rtn(method) ? 0.0 : 0.1;
}
double default_dead_threshold(Method method) { return method == Method::kWatersic ? 1e-3 : 0.0; }
double default_shrinkage(Method method) { return method == Method::kWatersic ? 0.06 : 0.0; }
int default_trellis(Method method) { return method == Method::kWatersic ? 64 : 0; }

LayerQuantizer::LayerQuantizer(ThreadPool& pool, const LayerProblem& problem,
                               const QuantizerOptions& options)
    : pool_(pool),
      problem_(problem),
      options_(options),
      trellis_(options.trellis.value_or(default_trellis(options.method))),
      lmmse_(options.lmmse.value_or(false)),
      shrinkage_(options.shrinkage.value_or(default_shrinkage(options.method))),
      damping_(options.damping.value_or(default_damping(options.method))) {
  const double threshold = options.dead_threshold.value_or(default_dead_threshold(options.method));
  if (options.rotate) rotate();
  if (minds_outputs() && problem.heads > 1) interleave();
  if (is_rtn(options.method) || options.rotate) {
    // RTN looks at no statistics, and a rotation mixes dead features with the others.
    columns_.live.resize(static_cast<size_t>(problem.W.cols()));
    std::iota(columns_.live.begin(), columns_.live.end(), 0);
  } else {
    columns_ = find_live(problem.S, threshold);
  }
  choose_order();
  for (const int32_t i : order_) in_loop_.live.push_back(columns_.live[static_cast<size_t>(i)]);
  W_ = live_columns(problem_.W, in_loop_);
  // Without a factor yet: its diagonal at least, for the first step.
  diagonal_.assign(order_.size(), 1.0);
  if (!is_rtn(options.method)) {
    const Matrix<double> L = form_target();
    if (minds_outputs()) {
      outputs_ = factor_outputs(pool, problem.output_metric, output_group_rows(problem.W.rows()),
                                strands_);
    }
    use_factor(L, 0);
  }
  variance_ = mean_square(W_);
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
  return options_.method == Method::kWatersic && problem_.output_metric.rows() > 0;
}

// From here on rows are those that are coded. (The metric is read in their order.)
void LayerQuantizer::interleave() {
  strands_ = problem_.heads;
  const int64_t a = problem_.W.rows();
  assert(a % strands_ == 0);
  const auto ordered = [&](auto from, auto& to) {
    if (from.rows() == 0) return;
    to = std::remove_reference_t<decltype(to)>(a, from.cols());
    for (int64_t k = 0; k < a; ++k)
      std::ranges::copy(from.row(strand_row(k, a, strands_)), to.row(k).begin());
  };
  ordered(problem_.W, interleaved_W_);
  ordered(problem_.residual, interleaved_residual_);
  problem_.W = interleaved_W_;
  if (problem_.residual.rows() > 0) problem_.residual = interleaved_residual_;
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
  } else if (options_.method != Method::kWatersic) {
    std::reverse(order_.begin(), order_.end());
  }
}

// With shrinkage lambda the loop minimises |W - V|^2 under S, plus delta |V|^2 with
// delta = lambda c^2 / mean(W^2), a stand-in for the rate: L L^T = S + d I + delta I, and the
// target is Y = (W (S + d I)) L^{-T} = W L - delta W L^{-T}.
void LayerQuantizer::prepare(double step) {
  if (is_rtn(options_.method)) return;
  const double extra = shrinkage_ > 0 && variance_ > 0 ? shrinkage_ * step * step / variance_ : 0.0;
  // Factoring is dear, and a fifth more or less does not matter.
  if (extra_ > 0 && extra > 0.8 * extra_ && extra < 1.25 * extra_) return;
  if (extra != extra_) factor(extra);
}

// S' of the live columns in the order of the loop, with (damping * mean + extra) on the diagonal.
Matrix<double> LayerQuantizer::damped_metric(double extra) const {
  Matrix<double> A = live_block(metric(), in_loop_);
  const double mean = mean_diagonal(A);
  for (int64_t i = 0; i < live(); ++i) A(i, i) += damping_ * mean + extra;
  return A;
}

// C = W E[x x'^T] + E[(r - r') x'^T], live columns only, in the columns' own order.
Matrix<double> LayerQuantizer::cross_moment() const {
  const Matrix<float> narrow = live_columns(problem_.W, columns_);
  Matrix<double> W(narrow.rows(), narrow.cols()), C(W.rows(), W.cols());
  std::copy(narrow.values().begin(), narrow.values().end(), W.data());
  const MatrixView<const double> cross = problem_.cross.rows() > 0 ? problem_.cross : metric();
  gemm(pool_, Op::kNone, Op::kNone, 1.0, W, live_block(cross, columns_), 0.0, C);
  if (problem_.residual.rows() == 0) return C;
  pool_.parallel_for(C.rows(), [&](int64_t k) {
    for (int64_t i = 0; i < C.cols(); ++i)
      C(k, i) += problem_.residual(k, columns_.live[static_cast<size_t>(i)]);
  });
  return C;
}

// T = (C + d W) (S' + d I)^{-1}, in float64, since S' is badly conditioned. Climbs the ladder of
// damping: what can't be factored is tried with ten times as much, up to kMostDamping.
// Returns the factor.
Matrix<double> LayerQuantizer::form_target() {
  constexpr double kMostDamping = 0.1;
  Matrix<double> L;
  for (;;) {
    L = damped_metric(0);
    const int64_t failed = cholesky(pool_, L);
    if (failed < 0) break;
    const double more = std::max(10 * damping_, 1e-6);
    if (more > kMostDamping * 1.0001) {
      throw Error(fmt::format(
          "the covariance is not positive definite at column {} with damping {:g} of its mean "
          "diagonal",
          in_loop_.live[static_cast<size_t>(failed)], damping_));
    }
    damping_ = more;
  }
  if (problem_.cross.rows() == 0 && problem_.residual.rows() == 0) return L;
  double mean = 0;
  for (const int32_t j : columns_.live) mean += metric()(j, j) / static_cast<double>(live());
  const Matrix<double> C = cross_moment();
  Matrix<double> T(W_.rows(), live());
  for (int64_t k = 0; k < T.rows(); ++k)
    for (int64_t i = 0; i < live(); ++i)
      T(k, i) = C(k, order_[static_cast<size_t>(i)]) + damping_ * mean * W_(k, i);
  solve_right_lower(pool_, Op::kTranspose, L, T);
  solve_right_lower(pool_, Op::kNone, L, T);
  for (size_t i = 0; i < W_.values().size(); ++i)
    W_.values()[i] = static_cast<float>(T.values()[i]);
  return L;
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
  for (int64_t i = 0; i < live(); ++i) {
    diagonal_[static_cast<size_t>(i)] = factor(i, i);
    for (int64_t j = 0; j <= i; ++j) L_(i, j) = static_cast<float>(factor(i, j));
  }
  extra_ = extra;
  Yt_ = in_loop_domain(W_, 0);
}

// Y^T of rows of the target, `first` the first of them; each times its root of the outputs' metric.
Matrix<float> LayerQuantizer::in_loop_domain(MatrixView<const float> T, int64_t first) const {
  Matrix<float> Yt(live(), T.rows());
  gemm(pool_, Op::kTranspose, Op::kTranspose, 1.0F, L_, T, 0.0F, Yt);
  if (extra_ > 0) {
    Matrix<float> back(T.rows(), T.cols());
    for (int64_t k = 0; k < T.rows(); ++k) std::ranges::copy(T.row(k), back.row(k).begin());
    solve_right_lower(pool_, Op::kTranspose, L_, back);
    const auto delta = static_cast<float>(extra_);
    const Matrix<float> back_t = transposed<float>(back);
    for (size_t i = 0; i < Yt.values().size(); ++i) Yt.values()[i] -= delta * back_t.values()[i];
  }
  if (outputs_.empty()) return Yt;
  for (int64_t i = 0; i < live(); ++i)
    for (int64_t k = 0; k < T.rows(); ++k)
      Yt(i, k) *= static_cast<float>(outputs_.root[static_cast<size_t>(first + k)]);
  return Yt;
}

bool LayerQuantizer::has_step() const { return !is_grid(options_.method); }

// At high rate a Gaussian of deviation s rounded with step d has log2(s/d) + 1/2 log2(2 pi e) bits.
// With the steps c / L_ii every column's step is c in the rotated domain, where its deviation is
// about rms(W[:, i]) L_ii; a uniform step d is d L_ii there.
double LayerQuantizer::initial_step(double bits) const {
  double log_sum = 0;
  int64_t columns = 0;
  for (int64_t i = 0; i < live(); ++i) {
    double square = 0;
    for (int64_t k = 0; k < W_.rows(); ++k) square += static_cast<double>(W_(k, i)) * W_(k, i);
    if (square <= 0) continue;
    const double scale =
        options_.method == Method::kWatersic ? diagonal_[static_cast<size_t>(i)] : 1.0;
    log_sum += 0.5 * std::log2(square / static_cast<double>(W_.rows())) + std::log2(scale);
    ++columns;
  }
  if (columns == 0) return 1.0;
  const double entropy_at_unit_step = 0.5 * std::log2(2 * std::numbers::pi * std::numbers::e);
  return std::exp2(log_sum / static_cast<double>(columns) + entropy_at_unit_step - bits);
}

QuantizedLayer LayerQuantizer::quantize(double step, std::span<const int64_t> rows) const {
  if (rows.empty() && !outputs_.empty()) return quantize_groups(step);
  const int64_t n = live(), a = rows.empty() ? W_.rows() : static_cast<int64_t>(rows.size());
  const bool rtn = is_rtn(options_.method);
  // What the loop spoils: a copy of Y, of these rows.
  Matrix<float> Yt = rtn ? transposed<float>(W_) : Yt_;
  if (!rows.empty()) {
    Matrix<float> some(n, a);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < a; ++k) some(i, k) = Yt(i, rows[static_cast<size_t>(k)]);
    Yt = std::move(some);
  }
  Matrix<int32_t> Zt(n, a);
  Matrix<float> Vt(n, a);
  const auto run = [&](auto& quantizer, int64_t panel) {
    if (rtn) {
      NoCancellation::run(panel > 0 ? panel : std::max<int64_t>(1, n), Yt.view(), quantizer,
                          Zt.view(), Vt.view());
    } else {
      cancel_successively<float>(pool_, L_, Yt, panel, quantizer, Zt, Vt);
    }
  };

  QuantizedLayer out{
      .rows = a, .cols = problem_.W.cols(), .columns = columns_, .Z = Matrix<int32_t>(a, n)};
  if (has_step() && trellis_ > 0) {
    out.trellis = trellis_;
    out.segment_rows = segment_rows(a);
  }
  if (options_.rotate) out.rotation = rotation_seed(options_);
  Rounder rounder(pool_, out.trellis, out.segment_rows);
  if (options_.method == Method::kWatersic) {
    ZsicQuantizer<float> quantizer(pool_, rounder, step, lmmse_, diagonal_);
    run(quantizer, 0);
    out.alpha = quantizer.alpha();
    out.gamma = quantizer.lmmse_factor();
  } else if (!is_grid(options_.method)) {
    const double stored = round_to_half(step, half_exponent(step));
    UniformQuantizer<float> quantizer(pool_, rounder, stored, diagonal_);
    run(quantizer, 0);
    out.alpha = {stored};
  } else {
    float largest = 0;
    for (const float w : W_.values()) largest = std::max(largest, std::fabs(w));
    // 2^4 of headroom: what is carried into a later group can exceed the weights given.
    const int exponent = largest > 0 ? half_exponent(static_cast<double>(largest)) + 4 : 0;
    GridQuantizer<float> quantizer(pool_, static_cast<int>(options_.bits), exponent, diagonal_);
    const int64_t size = options_.group_size;
    run(quantizer, size);
    const auto& scales = quantizer.scales();
    if (size > 0 && size < n) {
      out.group_scale = Matrix<double>(a, static_cast<int64_t>(scales.size()));
      for (size_t g = 0; g < scales.size(); ++g)
        for (int64_t k = 0; k < a; ++k)
          out.group_scale(k, static_cast<int64_t>(g)) = scales[g][static_cast<size_t>(k)];
      out.column_group.resize(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) {
        out.column_group[static_cast<size_t>(order_[static_cast<size_t>(i)])] =
            static_cast<int32_t>((n - 1 - i) / size);
      }
    } else if (!scales.empty()) {
      out.t.assign(scales.front().begin(), scales.front().end());
    }
  }

  // From the loop's order to the columns' own.
  const Matrix<int32_t> Z = transposed<int32_t>(Zt);
  const auto reorder = [&](std::vector<double>& values) {
    if (values.size() < 2) return;
    const std::vector<double> in_loop = values;
    for (size_t i = 0; i < values.size(); ++i) values[static_cast<size_t>(order_[i])] = in_loop[i];
  };
  reorder(out.alpha);
  reorder(out.gamma);
  for (int64_t k = 0; k < a; ++k)
    for (int64_t i = 0; i < n; ++i) out.Z(k, order_[static_cast<size_t>(i)]) = Z(k, i);
  return out;
}

void LayerQuantizer::rescale(QuantizedLayer& layer) const {
  if (options_.method != Method::kWatersic || !options_.rescalers || live() == 0 || layer.rows == 0)
    return;
  assert(layer.rows == W_.rows());
  if (!outputs_.empty()) return rescale_groups(layer);
  const Matrix<double> S = live_block(metric(), columns_), C = cross_moment();
  // Up to a constant J is this plus tr(V S' V^T) - 2 <C, V>: zero at the target.
  double w2 = 0;
  for (int64_t k = 0; k < C.rows(); ++k)
    for (int64_t i = 0; i < live(); ++i) w2 += W_(k, i) * C(k, order_[static_cast<size_t>(i)]);
  std::vector<double> alpha = layer.alpha;
  if (layer.trellis > 0)
    for (double& x : alpha) x /= 2;  // of Z, which is twice the value
  Rescaled rescaled = watersic::rescale(pool_, layer.Z, alpha, layer.gamma, C, S, w2);
  layer.t = std::move(rescaled.t);
  layer.gamma = std::move(rescaled.gamma);
}

double LayerQuantizer::objective(MatrixView<const float> V) const {
  Matrix<double> E(V.rows(), live());
  for (int64_t k = 0; k < V.rows(); ++k) {
    for (int64_t i = 0; i < live(); ++i) {
      const auto j = static_cast<size_t>(order_[static_cast<size_t>(i)]);
      E(k, static_cast<int64_t>(j)) = static_cast<double>(W_(k, i)) - V(k, columns_.live[j]);
    }
  }
  return quadratic_trace(pool_, E, live_block(metric(), columns_)) /
         static_cast<double>(std::max<int64_t>(1, V.size()));
}

int64_t segment_rows(int64_t rows) {
  constexpr int64_t kSegment = 4096;
  const int64_t parts = std::max<int64_t>(1, (rows + kSegment / 2) / kSegment);
  return std::max<int64_t>(1, (rows + parts - 1) / parts);
}

// Rows that are quantized before the others make good what they have done: few, since within a
// group nothing is made good; but where a path through the trellis is cut, it costs as much as its
// start, 2.2 bits with 64 states.
int64_t output_group_rows(int64_t rows) { return std::clamp<int64_t>(rows / 8, 64, 256); }

Distortions distortions(ThreadPool& pool, const LayerProblem& problem, MatrixView<const float> V) {
  const MatrixView<const float> W = problem.W;
  const MatrixView<const double> G = problem.output_metric;
  if (G.rows() == 0) return {.plain = distortion(pool, problem, V)};
  const int64_t a = W.rows(), n = W.cols();
  const bool diagonal = G.rows() == 1;
  Matrix<double> E(a, n), ES(a, n), GE(a, n);
  const double mean = mean_diagonal(G);
  for (int64_t k = 0; k < a; ++k) {
    const double weight = diagonal ? G(0, k) : G(k, k);
    for (int64_t j = 0; j < n; ++j) {
      E(k, j) = static_cast<double>(W(k, j)) - V(k, j);
      GE(k, j) = weight * E(k, j);
    }
  }
  gemm(pool, Op::kNone, Op::kNone, 1.0, E, problem.S, 0.0, ES);
  if (!diagonal) gemm(pool, Op::kNone, Op::kNone, 1.0, G, E, 0.0, GE);
  Distortions out;
  for (size_t i = 0; i < E.values().size(); ++i) {
    out.plain += E.values()[i] * ES.values()[i];
    out.weighted += GE.values()[i] * ES.values()[i];
  }
  const auto weights = static_cast<double>(std::max<int64_t>(1, W.size()));
  out.plain /= weights;
  out.weighted = mean > 0 ? out.weighted / (mean * weights) : 0;
  return out;
}

// In float32: a sum of squares, of which nothing cancels.
double signal(ThreadPool& pool, MatrixView<const float> W, MatrixView<const double> S) {
  Matrix<float> narrow(S.rows(), S.cols());
  for (int64_t i = 0; i < S.rows(); ++i)
    for (int64_t j = 0; j < S.cols(); ++j) narrow(i, j) = static_cast<float>(S(i, j));
  double sum = 0;
  for (int64_t begin = 0; begin < W.rows(); begin += kRowTile) {
    const MatrixView<const float> rows =
        W.block(begin, 0, std::min(kRowTile, W.rows() - begin), W.cols());
    Matrix<float> WS(rows.rows(), rows.cols());
    gemm(pool, Op::kNone, Op::kNone, 1.0F, rows, narrow, 0.0F, WS);
    for (int64_t k = 0; k < rows.rows(); ++k)
      for (int64_t j = 0; j < rows.cols(); ++j)
        sum += static_cast<double>(rows(k, j)) * static_cast<double>(WS(k, j));
  }
  return sum / static_cast<double>(std::max<int64_t>(1, W.size()));
}

double distortion(ThreadPool& pool, const LayerProblem& problem, MatrixView<const float> V) {
  const MatrixView<const float> W = problem.W;
  Matrix<double> E(W.rows(), W.cols());
  for (int64_t k = 0; k < W.rows(); ++k)
    for (int64_t j = 0; j < W.cols(); ++j) E(k, j) = static_cast<double>(W(k, j)) - V(k, j);
  return quadratic_trace(pool, E, problem.S) / static_cast<double>(std::max<int64_t>(1, W.size()));
}

}  // namespace watersic
