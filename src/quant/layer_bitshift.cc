// A layer in the runnable layout: the plan of its rates, and the loop with it.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/rng.h"
#include "quant/bitshift_columns.h"
#include "quant/layer.h"
#include "quant/slabs.h"

namespace watersic {
namespace {

// Rows that a plan is made on.
constexpr int64_t kPilotRows = 256;
// Rows behind a group at which its paths look, so that they end where they can go on: their targets
// are about to change, but not by much. Without, a cut costs as much as 40 bits.
constexpr int64_t kLookahead = 64;
constexpr int kRounds = 8;
constexpr double kSettled = 0.01;  // of log2 of the water level
// Rows of a segment where no metric of the outputs asks for one path down all rows: threads take a
// segment each. Its start takes 16 bits, which are not lost: the path is the nearer for them.
constexpr int64_t kSegmentRows = 4096;

}  // namespace

// How wide each row is beside the others, columns at their own scale; with a metric of the outputs
// times its root. Their geometric mean is 1.
std::vector<double> LayerQuantizer::row_spread() const {
  const int64_t a = problem_.W.rows();
  const auto root = [&](int64_t k) {
    return outputs_.empty() ? 1.0 : outputs_.root[static_cast<size_t>(k)];
  };
  std::vector<double> column(static_cast<size_t>(live())), out(static_cast<size_t>(a));
  for (int64_t k = 0; k < a; ++k)
    for (int64_t i = 0; i < live(); ++i)
      column[static_cast<size_t>(i)] += std::pow(root(k) * target(k, i), 2);
  double log_mean = 0;
  int64_t counted = 0;
  for (int64_t k = 0; k < a; ++k) {
    double sum = 0;
    for (int64_t i = 0; i < live(); ++i)
      if (column[static_cast<size_t>(i)] > 0)
        sum += std::pow(root(k) * target(k, i), 2) / column[static_cast<size_t>(i)];
    out[static_cast<size_t>(k)] = std::sqrt(sum);
    if (sum <= 0) continue;
    log_mean += 0.5 * std::log2(sum);
    ++counted;
  }
  const double mean = std::exp2(log_mean / static_cast<double>(std::max<int64_t>(1, counted)));
  for (double& spread : out) spread = std::max(spread / mean, 1e-6);
  return out;
}

// Rows of like spread next to each other, so that they share a rate: where that saves more than
// telling the order takes. With a metric of the outputs the order changes the roots: twice, then.
// (Strands in turn, each sorted, keep more of what rows can make good of each other's errors; it
// is worth less than what it costs where strands are unlike.)
void LayerQuantizer::sort_rows() {
  const int64_t a = problem_.W.rows();
  for (int round = 0; round < 2; ++round) {
    const std::vector<double> spread = row_spread();
    std::vector<int64_t> order = all_rows(a);
    std::ranges::stable_sort(order, [&](int64_t x, int64_t y) {
      return spread[static_cast<size_t>(x)] > spread[static_cast<size_t>(y)];
    });
    std::vector<double> in_order(order.size());
    std::ranges::transform(order, in_order.begin(),
                           [&](int64_t k) { return spread[static_cast<size_t>(k)]; });
    const double saved = uneven_bits(spread) - uneven_bits(in_order);
    const double cost = std::bit_width(static_cast<uint64_t>(a)) /
                        static_cast<double>(std::max<int64_t>(1, live()));
    if (!sorted_ && saved < cost) return;
    sorted_ = true;
    order_rows(order);
    if (!outputs_.empty()) factor_metric();
  }
}

BitshiftPlan LayerQuantizer::plan(int64_t bytes) {
  const int64_t a = problem_.W.rows();
  BitshiftPlan plan{.row_spread = row_spread()};
  plan.offsets = tile_offsets(plan.row_spread);
  const bool one = !outputs_.empty() && outputs_.feedback.rows() > 0;
  plan.segment_rows = one ? bitshift_tiles(a) * kBitshiftRows : kSegmentRows;
  Rng rng(options_.seed);
  const std::vector<int64_t> rows = a <= kPilotRows ? all_rows(a) : rng.choose(a, kPilotRows);
  std::vector<double> spread(rows.size());
  std::ranges::transform(rows, spread.begin(),
                         [&](int64_t k) { return plan.row_spread[static_cast<size_t>(k)]; });
  // The first guess: the error that so many bits would leave of the weights alone.
  for (int64_t i = 0; i < live(); ++i)
    plan.spread.push_back(std::sqrt(variance_) * diagonal_[static_cast<size_t>(i)]);
  allocate(plan, a, bytes);
  for (int round = 0; round < kRounds; ++round) {
    prepare(std::sqrt(12 * plan.water));
    Matrix<float> Yt = in_loop_domain(target(rows), rows);
    Matrix<int32_t> Zt(Yt.rows(), Yt.cols());
    TestChannel channel(plan.water, spread, diagonal_, options_.seed);
    cancel_successively<float>(pool_, L_, Yt, 0, channel, Zt);
    plan.spread = channel.spread();
    const double before = plan.water;
    allocate(plan, a, bytes);
    if (std::fabs(std::log2(plan.water / before)) < kSettled) break;
  }
  return plan;
}

void LayerQuantizer::set_scales(const BitshiftPlan& plan, QuantizedLayer& layer) const {
  std::vector<double> alpha;
  for (size_t i = 0; i < plan.spread.size(); ++i)
    alpha.push_back(bitshift_unit(plan, i) / diagonal_[i]);
  layer.alpha = from_loop(alpha);
  layer.t = plan.row_spread;
  for (size_t k = 0; k < layer.t.size() && !outputs_.empty(); ++k) layer.t[k] /= outputs_.root[k];
}

Bitshift LayerQuantizer::planned(const BitshiftPlan& plan) const {
  Bitshift out{.memory = settled_.state_bits,
               .layout = {},
               .exceptions = {},
               .levels = from_loop(plan.levels),
               .offsets = plan.offsets,
               .row_order = {}};
  if (sorted_) out.row_order.assign(coded_row_.begin(), coded_row_.end());
  out.layout = BitshiftLayout(problem_.W.rows(), plan.segment_rows, out.levels, out.offsets);
  return out;
}

QuantizedLayer LayerQuantizer::quantize(const BitshiftPlan& plan) const {
  const int64_t a = problem_.W.rows();
  QuantizedLayer out = empty_layer(a);
  BitshiftQuantizer quantizer(pool_, plan, planned(plan), diagonal_, order_, out.payload);
  const auto run = [&](int64_t first, int64_t kept, MatrixView<float> Yt, MatrixView<int32_t> Zt) {
    quantizer.begin_rows(first, kept);
    cancel_successively<float>(pool_, L_, Yt, 0, quantizer, Zt);
  };
  if (!outputs_.empty() && outputs_.feedback.rows() > 0) {
    over_groups(out, kLookahead, run);
  } else {
    over_slabs(all_rows(a), 8 * kSegmentRows, [&](std::span<const int64_t> rows, int64_t at) {
      Matrix<float> Yt = in_loop_domain(target(rows), rows);
      Matrix<int32_t> Zt(Yt.rows(), Yt.cols());
      run(at, Yt.cols(), Yt.view(), Zt.view());
      put_integers(Zt, at, out.Z);
    });
  }
  out.bitshift = quantizer.take();
  set_scales(plan, out);
  return out;
}

}  // namespace watersic
