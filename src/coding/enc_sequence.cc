#include "coding/enc_sequence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "coding/common_gauss.h"
#include "coding/common_sequence.h"
#include "coding/enc_table.h"

namespace watersic {
namespace {

constexpr int kMaxLowBits = 15;

// A way to write the sequence, and what that costs.
struct Plan {
  SequenceKind kind = SequenceKind::kConstant;
  int low_bits = 0;
  int64_t center = 0;
  int parameter = 0;  // of Exp-Golomb
  int q = 0, spread = 0;
  int precision = 0;
  TableCode code;
  double bits = std::numeric_limits<double>::infinity();
};

// The upper parts of the numbers, less the center, counted.
Histogram upper_histogram(const std::vector<int64_t>& values, int low_bits, int64_t center) {
  std::map<int64_t, int64_t> counts;
  for (const int64_t v : values) ++counts[(v >> low_bits) - center];
  Histogram h;
  for (const auto& [value, count] : counts)
    h.counts.emplace_back(static_cast<int32_t>(std::clamp<int64_t>(value, INT32_MIN, INT32_MAX)),
                          count);
  h.total = static_cast<int64_t>(values.size());
  return h;
}

double escape_cost(const EscapeBits& bits) {
  return static_cast<double>(bits[kSequenceEscapeParameter]);
}

void keep_better(Plan& best, const Plan& plan) {
  if (plan.bits < best.bits) best = plan;
}

void try_exp_golomb(Plan& best, Plan plan, const Histogram& h) {
  plan.kind = SequenceKind::kExpGolomb;
  for (plan.parameter = 0; plan.parameter < 16; ++plan.parameter) {
    plan.bits = 2 + 4 + 4 + exp_golomb_bits(zigzag(plan.center), 8) +
                static_cast<double>(h.total * plan.low_bits);
    for (const auto& [value, count] : h.counts)
      plan.bits += static_cast<double>(count * exp_golomb_bits(zigzag(value), plan.parameter));
    keep_better(best, plan);
  }
}

void try_gaussian(Plan& best, Plan plan, const Histogram& h) {
  plan.kind = SequenceKind::kGaussian;
  // Without the outliers, which are escaped.
  double spread2 = 0, inside = 0;
  std::vector<std::pair<double, int64_t>> distances;
  distances.reserve(h.counts.size());
  for (const auto& [value, count] : h.counts)
    distances.emplace_back(std::fabs(value + 0.5 * plan.q), count);
  std::sort(distances.begin(), distances.end());
  for (const auto& [distance, count] : distances) {
    if (inside > 0.98 * static_cast<double>(h.total)) break;
    spread2 += distance * distance * static_cast<double>(count);
    inside += static_cast<double>(count);
  }
  const int guess =
      kUnitSpread +
      static_cast<int>(std::lround(4 * std::log2(std::max(spread2 / std::max(inside, 1.0), 1e-3))));
  for (plan.spread = std::max(0, guess - 3); plan.spread <= std::min(guess + 6, kSpreads - 1);
       ++plan.spread) {
    for (plan.precision = kMinPrecision; plan.precision <= kMaxPrecision; ++plan.precision) {
      SymbolTable table;
      if (!gaussian_table(plan.spread, plan.q, plan.precision, 0, true, table)) continue;
      EscapeBits escapes{};
      plan.bits = 2 + 4 + exp_golomb_bits(zigzag(plan.center), 8) + 1 + 7 + 3 +
                  static_cast<double>(h.total * plan.low_bits) +
                  payload_bits(h, table, plan.precision, escapes) + escape_cost(escapes);
      keep_better(best, plan);
    }
  }
}

void try_fitted(Plan& best, Plan plan, const Histogram& h) {
  plan.kind = SequenceKind::kFitted;
  const FittedTable fitted = fit_table(h);
  plan.code = fitted.code;
  plan.precision = fitted.precision;
  plan.bits = 2 + 4 + 3 + static_cast<double>(h.total * plan.low_bits + fitted.table_bits()) +
              fitted.payload_bits + escape_cost(fitted.escape_bits);
  keep_better(best, plan);
}

Plan best_plan(const std::vector<int64_t>& values) {
  Plan best;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  if (*low == *high) {
    best.center = *low;
    best.bits = 2 + exp_golomb_bits(zigzag(best.center), 8);
    return best;
  }
  std::vector<int64_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  // Around the middle four fifths lies what counts.
  const size_t n = sorted.size(), cut = n / 10;
  double sum = 0;
  for (size_t i = cut; i < n - cut; ++i) sum += static_cast<double>(sorted[i]);
  const double mean = sum / static_cast<double>(n - 2 * cut);
  const int64_t width = sorted[n - 1 - cut] - sorted[cut];
  for (int b = 0; b <= kMaxLowBits; ++b) {
    if (b > 0 && width >> b < 4) break;
    Plan plan;
    plan.low_bits = b;
    const double upper = (mean - (b > 0 ? (1 << b) * 0.5 - 0.5 : 0)) / (1 << b);
    for (plan.q = 0; plan.q < 2; ++plan.q) {
      plan.center = static_cast<int64_t>(std::llround(upper + 0.5 * plan.q));
      const Histogram h = upper_histogram(values, b, plan.center);
      if (plan.q == 0) try_exp_golomb(best, plan, h);
      try_gaussian(best, plan, h);
    }
    plan.center = 0;
    if (width >> b <= 256) try_fitted(best, plan, upper_histogram(values, b, 0));
    if (width >> b <= 16) break;
  }
  return best;
}

}  // namespace

double sequence_bits(const std::vector<int64_t>& values) {
  return values.empty() ? 0 : best_plan(values).bits;
}

void write_sequence(HeadWriter& out, const std::vector<int64_t>& values) {
  if (values.empty()) return;
  const Plan plan = best_plan(values);
  out.bits(static_cast<uint64_t>(plan.kind), 2);
  if (plan.kind == SequenceKind::kConstant) {
    out.exp_golomb(zigzag(plan.center), 8);
    return;
  }
  out.bits(static_cast<uint64_t>(plan.low_bits), 4);
  if (plan.kind != SequenceKind::kFitted) out.exp_golomb(zigzag(plan.center), 8);
  SymbolTable table;
  if (plan.kind == SequenceKind::kExpGolomb) {
    out.bits(static_cast<uint64_t>(plan.parameter), 4);
  } else if (plan.kind == SequenceKind::kGaussian) {
    out.bits(static_cast<uint64_t>(plan.q), 1);
    out.bits(static_cast<uint64_t>(plan.spread), 7);
    out.bits(static_cast<uint64_t>(plan.precision - kMinPrecision), 3);
    gaussian_table(plan.spread, plan.q, plan.precision, 0, true, table);
  } else {
    out.bits(static_cast<uint64_t>(plan.precision - kMinPrecision), 3);
    write_table(out, plan.code);
    expand_table(plan.code, plan.precision, table);
  }
  std::vector<uint32_t> starts;
  uint32_t start = 0;
  for (const uint32_t f : table.frequencies) {
    starts.push_back(start);
    start += f;
  }
  for (const int64_t v : values) {
    const int64_t upper = (v >> plan.low_bits) - plan.center;
    if (plan.kind == SequenceKind::kExpGolomb) {
      out.exp_golomb(zigzag(upper), plan.parameter);
    } else {
      const bool held = upper >= table.base && upper < table.base + table.symbols;
      const auto s = static_cast<size_t>(held ? upper - table.base : table.symbols + (upper & 1));
      out.symbol(starts[s], table.frequencies[s], plan.precision);
      if (!held) out.exp_golomb(escape_code(table, upper), kSequenceEscapeParameter);
    }
    out.bits(static_cast<uint64_t>(v) & ((uint64_t{1} << plan.low_bits) - 1), plan.low_bits);
  }
}

}  // namespace watersic
