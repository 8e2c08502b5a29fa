#include "quant/bitshift_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

namespace watersic {
namespace {

// Bits above the rate-distortion function at rates of 0, 1, ... quarters (quant_bench, 14 bits of
// state; with more all are nearer, with fewer farther).
constexpr std::array<double, kMostStageRate + 1> kGap{
    0.000, 0.027, 0.042, 0.058, 0.059, 0.070, 0.075, 0.079, 0.083, 0.086, 0.088, 0.096, 0.100,
    0.108, 0.115, 0.124, 0.130, 0.134, 0.144, 0.148, 0.156, 0.172, 0.190, 0.206, 0.222};
// A stage of less than this is worth little, since its unit is not its own.
constexpr int kLeastLaterRate = 4;

bool is_level(int level) {
  return level <= kMostStageRate || level % kMostStageRate == 0 ||
         level % kMostStageRate >= kLeastLaterRate;
}

// log2 of the root mean square of each tile.
std::vector<double> tile_logs(std::span<const double> row_spread) {
  std::vector<double> out;
  for (size_t first = 0; first < row_spread.size(); first += kBitshiftRows) {
    const size_t rows = std::min<size_t>(kBitshiftRows, row_spread.size() - first);
    double square = 0;
    for (const double s : row_spread.subspan(first, rows)) square += s * s;
    out.push_back(0.5 * std::log2(std::max(square / static_cast<double>(rows), 1e-24)));
  }
  return out;
}

// log2 of what a level leaves.
double left_by(int32_t level) {
  static const std::vector<double> known = [] {
    std::vector<double> out;
    for (int of = 0; of <= kMostLevel; ++of) out.push_back(std::log2(level_distortion(of)));
    return out;
  }();
  return known[static_cast<size_t>(level)];
}

int32_t nearest_level(double spread, double water, double wanted) {
  int32_t best = 0;
  for (int32_t level = 1; level <= kMostLevel; ++level)
    if (is_level(level) && std::fabs(left_by(level) - wanted) < std::fabs(left_by(best) - wanted))
      best = level;
  // Where others are worth no bit, wider rows may be.
  if (best == 0 && spread > 0) {
    const double least = std::exp2(-left_by(1) / 2) - 1;  // of s^2 / water, for a level of 1
    const double behind = 0.5 * kBitshiftQuarters * std::log2(least * water / (spread * spread));
    best = 1 - static_cast<int32_t>(std::ceil(std::clamp(behind, 1.0, 2.0 * kMostLevel)));
  }
  return best;
}

// Makes the columns of a level a multiple of what a product takes at a time, as long as none gets
// farther than kFarthest from what is wanted of it: those nearest to the next level go over to it,
// or its nearest come.
void fill_vectors(std::span<const double> wanted, std::span<int32_t> levels) {
  constexpr double kFarthest = 0.5;  // as far as two levels are apart
  std::vector<size_t> order(levels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::less(), [&](size_t i) { return wanted[i]; });
  const auto fits = [&](size_t at, int32_t level) {
    return std::fabs(left_by(level) - wanted[order[at]]) <= kFarthest;
  };
  size_t begin = 0;
  while (begin < order.size() && levels[order[begin]] > 0) {
    const int32_t level = levels[order[begin]];
    size_t end = begin;
    while (end < order.size() && levels[order[end]] == level) ++end;
    const size_t beyond = (end - begin) % kBitshiftVector, fewer = end - beyond,
                 more = fewer + kBitshiftVector;
    const int32_t next = end < order.size() ? levels[order[end]] : -1;
    const bool may_give = next >= 0 && fits(fewer, next),
               may_take = more <= order.size() && fits(more - 1, level);
    if (beyond == 0 || (!may_give && !may_take)) {
      begin = end;
      continue;
    }
    const bool gives = may_give && (!may_take || 2 * beyond < kBitshiftVector);
    for (size_t at = fewer; at < end && gives; ++at) levels[order[at]] = next;
    for (size_t at = end; at < more && !gives; ++at) levels[order[at]] = level;
    begin = gives ? fewer : more;
  }
}

}  // namespace

double level_distortion(int level) {
  double out = 1;
  for (; level > 0; level -= kMostStageRate) {
    const int rate = std::min(level, kMostStageRate);
    out *= std::exp2(
        -2 * (static_cast<double>(rate) / kBitshiftQuarters - kGap[static_cast<size_t>(rate)]));
  }
  return out;
}

std::vector<int32_t> tile_offsets(std::span<const double> row_spread) {
  const std::vector<double> logs = tile_logs(row_spread);
  double mean = 0;
  for (const double l : logs) mean += l / static_cast<double>(logs.size());
  std::vector<int32_t> out(logs.size());
  std::ranges::transform(logs, out.begin(), [&](double l) {
    return static_cast<int32_t>(
        std::clamp<long>(std::lround(kBitshiftQuarters * (l - mean)), -kMostLevel, kMostLevel));
  });
  return out;
}

double uneven_bits(std::span<const double> row_spread) {
  double out = 0;
  const std::vector<double> logs = tile_logs(row_spread);
  for (size_t k = 0; k < row_spread.size(); ++k)
    out += logs[k / kBitshiftRows] - std::log2(row_spread[k]);
  return out / static_cast<double>(std::max<size_t>(1, row_spread.size()));
}

std::vector<int32_t> levels_at(std::span<const double> spread, double water) {
  std::vector<double> wanted;  // log2 of what should be left of each column
  std::vector<int32_t> out;
  for (const double s : spread) {
    wanted.push_back(std::log2(water / (s * s + water)));
    out.push_back(nearest_level(s, water, wanted.back()));
  }
  fill_vectors(wanted, out);
  return out;
}

void allocate(BitshiftPlan& plan, int64_t rows, int64_t bytes) {
  const auto fits = [&](const std::vector<int32_t>& levels) {
    return BitshiftLayout(rows, plan.segment_rows, levels, plan.offsets).payload_bytes() <= bytes;
  };
  double largest = 0;
  for (const double s : plan.spread) largest = std::max(largest, s * s);
  // In log2 of the water level: at `high` nothing is worth a bit.
  double high = std::log2(std::max(largest, 1e-300)) + 2.0 * kMostLevel, low = high - 200;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (fits(levels_at(plan.spread, std::exp2(middle))) ? high : low) = middle;
  }
  plan.water = std::exp2(high);
  plan.levels = levels_at(plan.spread, plan.water);
  // At the next lower level several columns at once would have more bits: as many have as can.
  const std::vector<int32_t> more = levels_at(plan.spread, std::exp2(low));
  std::vector<size_t> differ;
  for (size_t i = 0; i < more.size(); ++i)
    if (more[i] > plan.levels[i]) differ.push_back(i);
  const auto with = [&](size_t count) {
    std::vector<int32_t> levels = plan.levels;
    for (size_t k = 0; k < count; ++k) levels[differ[k]] = more[differ[k]];
    return levels;
  };
  size_t some = 0, all = differ.size() + 1;  // `some` fit, `all` don't
  while (all - some > 1) {
    const size_t middle = (some + all) / 2;
    (fits(with(middle)) ? some : all) = middle;
  }
  plan.levels = with(some);
}

}  // namespace watersic
