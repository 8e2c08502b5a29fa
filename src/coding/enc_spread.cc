#include "coding/enc_spread.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/rng.h"
#include "coding/enc_sequence.h"
#include "coding/enc_spread_cost.h"

namespace watersic {
namespace {

constexpr double kNatsToBits = 1.4426950408889634;

// A line's choice among its costs on the grid of multiples of `step`.
//
// A choice that is likely (near `predicted` + the mean of all) is cheap to name, so it is preferred
// to one that fits a little better: the distances are taken for Gaussian, their spread from the
// choices of the round before. Zero lines have kZeroLine.
struct Choice {
  std::vector<int> value;
  double bits = 0;  // of the integers
};

Choice choose(const LineCosts& costs, int lowest, int step, const std::vector<int>& predicted) {
  const auto lines = static_cast<size_t>(costs.bits.rows());
  const auto columns = static_cast<int>(costs.bits.cols());
  const int first = -(-lowest / step * step);  // the first multiple
  Choice choice;
  choice.value.assign(lines, kZeroLine);
  double mean = 0, variance = INFINITY;
  for (int round = 0; round < 4; ++round) {
    double sum = 0, squares = 0, count = 0;
    const auto weight = static_cast<float>(kNatsToBits / (2 * variance));
    choice.bits = 0;
    for (size_t i = 0; i < lines; ++i) {
      if (costs.zero[i]) continue;
      const auto bits = costs.bits.row(static_cast<int64_t>(i));
      float best = INFINITY;
      int value = 0;
      const auto away = static_cast<float>(-predicted[i] - mean);
      for (int v = first; v < lowest + columns; v += step) {
        const float distance = static_cast<float>(v) + away;
        const float cost = bits[static_cast<size_t>(v - lowest)] + weight * distance * distance;
        if (cost < best) {
          best = cost;
          value = v;
        }
      }
      choice.value[i] = value;
      choice.bits += bits[static_cast<size_t>(value - lowest)];
      const double distance = value - predicted[i];
      sum += distance;
      squares += distance * distance;
      count += 1;
    }
    if (count == 0) return choice;
    mean = sum / count;
    variance = std::max(squares / count - mean * mean, 0.1 * step * step);
  }
  return choice;
}

// The lowest value of the lines that are not zero; 0 where all are.
int lowest_of(const std::vector<int>& values) {
  int lowest = std::numeric_limits<int>::max();
  for (const int v : values)
    if (v != kZeroLine) lowest = std::min(lowest, v);
  return lowest == std::numeric_limits<int>::max() ? 0 : lowest;
}

std::vector<int32_t> indices(const std::vector<int>& values, int lowest, int step) {
  std::vector<int32_t> result;
  result.reserve(values.size());
  for (const int v : values)
    result.push_back(v == kZeroLine ? 0 : 1 + std::max(0, v - lowest) / step);
  return result;
}

// columns: spreads; rows: offsets, or nothing.
Classes make_classes(const std::vector<int>& columns, const std::vector<int>& rows, int step) {
  Classes c;
  c.kind = rows.empty() ? Classes::kColumns : Classes::kRows;
  c.step = step;
  const int lowest_row = lowest_of(rows);
  const int lowest_column = std::max(lowest_of(columns), -lowest_row);
  c.first = lowest_column + lowest_row;
  c.column = indices(columns, lowest_column, step);
  if (!rows.empty()) c.row = indices(rows, lowest_row, step);
  const int most_column = *std::max_element(c.column.begin(), c.column.end());
  const int most_row = rows.empty() ? 1 : *std::max_element(c.row.begin(), c.row.end());
  c.count = std::clamp(most_column + most_row, 2, (kSpreads - 1 - c.first) / step + 2);
  for (int32_t& u : c.column) u = std::min(u, c.count - 1);
  for (int32_t& v : c.row) v = std::min(v, c.count - 1);
  return c;
}

ClassFit make_fit(const Choice& columns, const std::vector<int>& rows, int step,
                  double integer_bits, std::span<const uint16_t> column_scale) {
  ClassFit fit;
  fit.classes = make_classes(columns.value, rows, step);
  fit.integer_bits = integer_bits;
  fit.column_bits = code_columns(fit.classes, column_scale).bits;
  if (!rows.empty()) fit.row_bits = sequence_bits({fit.classes.row.begin(), fit.classes.row.end()});
  return fit;
}

void keep_better(ClassFit& best, ClassFit fit) {
  if (fit.bits() < best.bits()) best = std::move(fit);
}

}  // namespace

ColumnCode code_columns(const Classes& classes, std::span<const uint16_t> column_scale) {
  ColumnCode raw;
  raw.numbers.assign(classes.column.begin(), classes.column.end());
  raw.bits = sequence_bits(raw.numbers);
  if (column_scale.size() != classes.column.size()) return raw;
  std::vector<int64_t> away;
  for (size_t i = 0; i < column_scale.size(); ++i) {
    if (classes.column[i] > 0)
      away.push_back(classes.column[i] - scale_index(column_scale[i], classes.step));
  }
  if (away.empty()) return raw;
  const auto middle = away.begin() + static_cast<int64_t>(away.size() / 2);
  std::nth_element(away.begin(), middle, away.end());
  ColumnCode code;
  code.predicted = true;
  code.center = *middle;
  for (size_t i = 0; i < column_scale.size(); ++i) {
    const int64_t prediction = std::clamp<int64_t>(
        code.center + scale_index(column_scale[i], classes.step), 0, classes.count - 1);
    code.numbers.push_back(classes.column[i] - prediction);
  }
  code.bits = sequence_bits(code.numbers) + exp_golomb_bits(zigzag(code.center), 8);
  return code.bits < raw.bits ? code : raw;
}

namespace {

const BinCosts& bin_costs() {
  static const BinCosts costs;
  return costs;
}

ClassFit fit_to_all(MatrixView<const int32_t> codes, bool trellis,
                    std::span<const uint16_t> column_scale, ThreadPool& pool) {
  const auto rows = static_cast<size_t>(codes.rows()), cols = static_cast<size_t>(codes.cols());
  const BinCosts& bins = bin_costs();
  const std::vector<int> no_rows(rows, 0), nothing(cols, 0);
  std::vector<int> predicted = nothing;
  if (column_scale.size() == cols) {
    for (size_t i = 0; i < cols; ++i)
      predicted[i] = static_cast<int>(scale_index(column_scale[i], 1));
  }
  const std::array<const std::vector<int>*, 2> both = {&predicted, &nothing};
  const LineCosts plain = column_costs(codes, trellis, no_rows, bins, pool);
  ClassFit best;
  best.integer_bits = INFINITY;
  Choice finest;
  for (const int step : {1, 2, 4}) {
    for (const std::vector<int>* prediction : both) {
      const Choice choice = choose(plain, 0, step, *prediction);
      if (finest.value.empty()) finest = choice;
      keep_better(best, make_fit(choice, {}, step, choice.bits, column_scale));
    }
  }

  // Do rows differ? Not if what they would gain does not pay for naming them.
  std::vector<int> columns = finest.value;
  LineCosts by_row = row_costs(codes, trellis, columns, bins, pool);
  Choice row_choice = choose(by_row, -kMaxOffset, 1, no_rows);
  if (finest.bits - row_choice.bits < 1.0 * static_cast<double>(rows)) return best;
  for (int round = 0; round < 2; ++round) {
    std::vector<int> offsets = row_choice.value;
    const LineCosts by_column = column_costs(codes, trellis, offsets, bins, pool);
    for (const int step : {1, 2}) {
      if (step == 2) {
        for (int& o : offsets)
          if (o != kZeroLine) o = 2 * static_cast<int>(std::floor((o + 1) / 2.0));
      }
      const LineCosts& costs =
          step == 1 ? by_column : column_costs(codes, trellis, offsets, bins, pool);
      for (const std::vector<int>* prediction : both) {
        const Choice choice = choose(costs, 0, step, *prediction);
        if (step == 1 && prediction == &predicted) columns = choice.value;
        keep_better(best, make_fit(choice, offsets, step, choice.bits, column_scale));
      }
    }
    if (round == 0) {
      by_row = row_costs(codes, trellis, columns, bins, pool);
      row_choice = choose(by_row, -kMaxOffset, 1, no_rows);
    }
  }
  return best;
}

// Whether columns that have the class of zeros hold anything else.
bool zeros_are_others(const Classes& classes, MatrixView<const int32_t> codes) {
  for (size_t i = 0; i < classes.column.size(); ++i) {
    if (classes.column[i] != 0) continue;
    for (int64_t r = 0; r < codes.rows(); ++r)
      if (codes(r, static_cast<int64_t>(i)) != 0) return true;
  }
  return false;
}

// The columns' classes are those of some of the rows; each row gets its own.
ClassFit for_all_rows(const ClassFit& some, MatrixView<const int32_t> codes, bool trellis,
                      std::span<const uint16_t> column_scale, ThreadPool& pool) {
  if (some.classes.kind != Classes::kRows) {
    ClassFit fit = some;
    fit.integer_bits *= static_cast<double>(codes.rows()) / static_cast<double>(some.rows_seen);
    return fit;
  }
  const BinCosts& bins = bin_costs();
  Choice columns;
  for (const int32_t u : some.classes.column)
    columns.value.push_back(u == 0 ? kZeroLine : some.classes.spread(u));
  const std::vector<int> no_rows(static_cast<size_t>(codes.rows()), 0);
  const LineCosts by_row = row_costs(codes, trellis, columns.value, bins, pool);
  const Choice rows = choose(by_row, -kMaxOffset, some.classes.step, no_rows);
  ClassFit fit = make_fit(columns, rows.value, some.classes.step, rows.bits, column_scale);
  fit.rows_seen = some.rows_seen;
  return fit;
}

}  // namespace

ClassFit fit_classes(MatrixView<const int32_t> codes, bool trellis,
                     std::span<const uint16_t> column_scale, ThreadPool& pool) {
  constexpr int64_t kEnough = int64_t{1} << 22;  // integers, to tell the columns' spreads
  const int64_t every = codes.size() / kEnough;
  const auto fit_to = [&](MatrixView<const int32_t> rows) {
    ClassFit fit = fit_to_all(rows, trellis, column_scale, pool);
    fit.rows_seen = rows.rows();
    return fit;
  };
  if (every < 2) return fit_to(codes);
  // Drawn, since rows may be of so many heads in turn.
  Rng rng(1);
  const std::vector<int64_t> drawn = rng.choose(codes.rows(), tile_count(codes.rows(), every));
  Matrix<int32_t> some(std::ssize(drawn), codes.cols());
  pool.parallel_for(some.rows(), [&](int64_t r) {
    std::ranges::copy(codes.row(drawn[static_cast<size_t>(r)]), some.row(r).begin());
  });
  const ClassFit fit = fit_to(some);
  if (zeros_are_others(fit.classes, codes)) return fit_to(codes);
  return for_all_rows(fit, codes, trellis, column_scale, pool);
}

}  // namespace watersic
