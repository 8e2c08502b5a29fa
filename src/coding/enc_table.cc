#include "coding/enc_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include "coding/enc_window.h"

namespace watersic {
namespace {

struct Candidate {
  TableCode code;
  int precision = FittedTable::kDefaultPrecision;
  const Window* window = nullptr;
  double entropy = 0;                                     // of the symbols
  double bits = std::numeric_limits<double>::infinity();  // table, symbols, escapes
};

// log2 of every frequency that a table can have.
const std::vector<double>& logarithms() {
  static const std::vector<double> kLog2 = [] {
    std::vector<double> out((size_t{1} << kMaxPrecision) + 1);
    for (size_t f = 1; f < out.size(); ++f) out[f] = std::log2(static_cast<double>(f));
    return out;
  }();
  return kLog2;
}

double window_bits(const Window& w, const std::vector<uint32_t>& f, int precision) {
  const std::vector<double>& log2 = logarithms();
  double bits = 0;
  for (size_t v = 0; v < w.counts.size(); ++v) {
    if (w.counts[v] == 0) continue;
    if (f[v] == 0) return std::numeric_limits<double>::infinity();
    bits += static_cast<double>(w.counts[v]) * (precision - log2[f[v]]);
  }
  for (size_t odd = 0; odd < 2; ++odd) {
    if (w.escapes[odd] > 0)
      bits += static_cast<double>(w.escapes[odd]) * (precision - log2[f[w.counts.size() + odd]]);
  }
  return bits;
}

// No table codes a window's symbols in fewer bits.
double entropy_bits(const Window& w) {
  const double all = std::log2(static_cast<double>(w.total));
  double bits = 0;
  const auto add = [&](int64_t count) {
    if (count == 0) return;
    bits += static_cast<double>(count) * (all - std::log2(static_cast<double>(count)));
  };
  for (const int64_t count : w.counts) add(count);
  for (const int64_t count : w.escapes) add(count);
  return bits;
}

int64_t bits_of_table(const TableCode& code) {
  BitCounter counter;
  write_table(counter, code);
  return counter.size();
}

// Infinite where the code is no table, and where it costs more than `limit` for sure.
double cost(const Candidate& c, SymbolTable& scratch, double limit) {
  const Window& w = *c.window;
  const double states = static_cast<double>(w.total) * state_loss(c.precision),
               beside = static_cast<double>(bits_of_table(c.code) + w.cheapest_escapes());
  constexpr double kRounding = 1e-3;
  if (c.entropy + states + beside - kRounding >= limit ||
      !expand_table(c.code, c.precision, scratch))
    return std::numeric_limits<double>::infinity();
  return window_bits(w, scratch.frequencies, c.precision) + states + beside;
}

// What knots have to say to follow the counts, in 1/64 bit.
struct Levels {
  static constexpr double kAbsent = -std::numeric_limits<double>::infinity();
  std::vector<double> knots;
  double escape = 0, lowest = 0;
};

// `fill`: a missing value is taken for half a one, not for an absent symbol.
Levels follow_counts(const Window& w, const TableCode& code, bool fill) {
  const int64_t step = int64_t{1} << code.spacing;
  Levels levels;
  double highest = -1e9, lowest = 1e9;
  const auto note = [&](double count) {
    const double l = 64 * std::log2(count);
    highest = std::max(highest, l);
    lowest = std::min(lowest, l);
    return l;
  };
  for (int64_t i = 0; i < code.knot_count(); ++i) {
    double sum = 0, weights = 0;
    for (int64_t v = std::max<int64_t>(0, (i - 1) * step + 1);
         v < std::min(code.symbols, (i + 1) * step); ++v) {
      const double share = static_cast<double>(step - std::abs(v - i * step));
      sum += share * static_cast<double>(w.counts[static_cast<size_t>(v)]);
      weights += share;
    }
    const bool absent = sum == 0 && !fill && code.spacing == 0;
    levels.knots.push_back(absent ? Levels::kAbsent
                                  : note(std::max(sum / std::max(weights, 1.0), fill ? 0.5 : 0.1)));
  }
  const double escapes = std::max(0.5 * static_cast<double>(w.escapes[0] + w.escapes[1]), 0.5);
  if (w.escape()) levels.escape = note(escapes);
  levels.lowest =
      std::max(lowest, highest - kMaxLevel + 64);  // those below get the one slot anyway
  return levels;
}

void place_knots(TableCode& code, const Levels& levels) {
  const auto knot_of = [&](double level) {
    return static_cast<int32_t>(
        std::lround(std::max(level - levels.lowest, 0.0) / (1 << code.shift)));
  };
  code.knots.assign(levels.knots.size(), 0);
  for (size_t i = 0; i < levels.knots.size(); ++i) {
    if (levels.knots[i] != Levels::kAbsent)
      code.knots[i] = knot_of(levels.knots[i]) + (code.spacing == 0 ? 1 : 0);
  }
  code.escape_knot = code.escape ? knot_of(levels.escape) : 0;
}

// In Exp-Golomb codes. The numbers are below 2^23: the exponent of a float is their logarithm, also
// in vectors.
int64_t bits_of_all(const std::vector<int32_t>& numbers, int k) {
  int32_t logarithms = 0;
  for (const int32_t v : numbers)
    logarithms += (std::bit_cast<int32_t>(static_cast<float>(v + (1 << k))) >> 23) - 127;
  return 2 * int64_t{logarithms} + (1 - k) * static_cast<int64_t>(numbers.size());
}

// The prediction that makes the description of the knots shortest.
void choose_prediction(TableCode& code) {
  int64_t best_bits = std::numeric_limits<int64_t>::max(), best_bias = 0;
  int best_order = 1, best_parameter = 0;
  std::vector<int64_t> residuals, sorted;
  std::vector<int32_t> numbers;
  for (code.order = 1; code.order <= 2; ++code.order) {
    code.bias = 0;
    residuals.clear();
    for (int64_t i = 1; i < code.knot_count(); ++i)
      residuals.push_back(code.knots[static_cast<size_t>(i)] - code.prediction(i));
    // The second knot has no line to lie on, and then no bias.
    const size_t unbiased = std::min(residuals.size(), static_cast<size_t>(code.order - 1));
    sorted.assign(residuals.begin() + static_cast<int64_t>(unbiased), residuals.end());
    if (!sorted.empty()) {
      const auto middle = sorted.begin() + static_cast<int64_t>(sorted.size() / 2);
      std::nth_element(sorted.begin(), middle, sorted.end());
      code.bias = *middle;
    }
    numbers.clear();
    for (size_t i = 0; i < residuals.size(); ++i)
      numbers.push_back(
          static_cast<int32_t>(zigzag(residuals[i] - (i < unbiased ? 0 : code.bias))));
    const int64_t bias_bits = exp_golomb_bits(zigzag(code.bias), 2);
    for (int k = 0; k < 12; ++k) {
      const int64_t bits = bias_bits + bits_of_all(numbers, k);
      if (bits >= best_bits) continue;
      best_bits = bits;
      best_order = code.order;
      best_bias = code.bias;
      best_parameter = k;
    }
  }
  code.order = best_order;
  code.bias = best_bias;
  code.parameter = best_parameter;
}

// Moves knots by one as long as that saves bits.
void descend(Candidate& c, SymbolTable& scratch) {
  const auto try_step = [&](int32_t& knot, int32_t lowest) {
    bool moved = false;
    for (const int32_t step : {1, -1}) {
      while (knot + step >= lowest) {
        knot += step;
        const double bits = cost(c, scratch, c.bits);
        if (!(bits < c.bits)) {
          knot -= step;
          break;
        }
        c.bits = bits;
        moved = true;
      }
    }
    return moved;
  };
  // Wide alphabets have many knots, each dear to try, and little to gain.
  const int passes = c.code.symbols > 1024 ? 1 : 6;
  for (int pass = 0; pass < passes; ++pass) {
    bool moved = false;
    for (int32_t& knot : c.code.knots) {
      if (c.code.spacing > 0 || knot > 0) moved |= try_step(knot, c.code.spacing > 0 ? 0 : 1);
    }
    if (c.code.escape) moved |= try_step(c.code.escape_knot, 0);
    if (!moved) break;
    Candidate other = c;
    choose_prediction(other.code);
    other.bits = cost(other, scratch, c.bits);
    if (other.bits < c.bits) c = other;
  }
}

int least_precision(int64_t alphabet) {
  return std::max(kMinPrecision, static_cast<int>(std::bit_width(static_cast<uint64_t>(alphabet))));
}

void choose_precision(Candidate& c, SymbolTable& scratch) {
  for (int p = least_precision(c.code.alphabet()); p <= kMaxPrecision; ++p) {
    Candidate other = c;
    other.precision = p;
    other.bits = cost(other, scratch, c.bits);
    if (other.bits < c.bits) c = other;
  }
}

}  // namespace

int64_t FittedTable::table_bits() const { return bits_of_table(code); }

// Coding a symbol turns the fraction x / f into a whole number, whose relative error has a mean
// square of about f^2 / (6 x^2), x / f being spread log-uniformly over [2^(16-P), 2^(32-P)).
double state_loss(int precision) { return 0.0054 * std::exp2(-2 * (16 - precision)); }

double payload_bits(const Histogram& h, const SymbolTable& table, int precision,
                    EscapeBits& escape_bits) {
  double bits = 0;
  for (const auto& [value, count] : h.counts) {
    size_t s = static_cast<size_t>(int64_t{value} - table.base);
    if (!table.holds(value)) {
      if (!table.escape) return std::numeric_limits<double>::infinity();
      s = static_cast<size_t>(table.symbols + (value & 1));
      add_escapes(escape_bits, escape_code(table, value), count);
    }
    const uint32_t f = table.frequencies[s];
    if (f == 0) return std::numeric_limits<double>::infinity();
    bits += static_cast<double>(count) * (precision - std::log2(static_cast<double>(f)));
  }
  return bits;
}

namespace {

// Candidates of one window and one spacing of knots.
struct Family {
  Candidate best;
  double least_bits = 0;  // no table of them takes fewer
};

// The most promising first. `precision`: that of the table, 0 if it may be chosen, and then begins
// with `usual`.
std::vector<Family> families_of(const std::vector<Window>& windows, int precision, int usual) {
  std::vector<Family> families;
  for (const Window& w : windows) {
    Candidate c;
    c.window = &w;
    c.entropy = entropy_bits(w);
    c.code.base = static_cast<int32_t>(w.base);
    c.code.symbols = static_cast<int64_t>(w.counts.size());
    c.code.escape = w.escape();
    c.precision = std::max(usual, least_precision(c.code.alphabet()));
    if (precision > 0 && c.precision > precision) continue;
    const double least = c.entropy + static_cast<double>(w.total) * state_loss(c.precision) +
                         static_cast<double>(w.cheapest_escapes());
    for (c.code.spacing = 0; c.code.spacing <= 7; ++c.code.spacing) {
      if (c.code.spacing > 0 && (c.code.alphabet() == 1 || c.code.symbols >> c.code.spacing < 3))
        break;
      const int64_t knots = c.code.alphabet() == 1 ? 0 : c.code.knot_count();  // a bit each
      families.push_back({.best = c, .least_bits = least + static_cast<double>(knots)});
    }
  }
  std::ranges::stable_sort(families, {}, &Family::least_bits);
  return families;
}

// Tries knots in multiples of 2^shift for some shifts. What costs more than `limit` need not be
// found.
void try_shifts(Family& family, std::span<const int> shifts, double limit, SymbolTable& scratch) {
  Candidate c = family.best;
  const auto consider = [&] {
    c.bits = cost(c, scratch, std::min(limit, family.best.bits));
    if (c.bits < family.best.bits) family.best = c;
  };
  if (c.code.alphabet() == 1) {
    consider();
    return;
  }
  const std::vector<int64_t>& counts = c.window->counts;
  std::vector<Levels> levels = {follow_counts(*c.window, c.code, false)};
  if (c.code.spacing == 0 && std::find(counts.begin(), counts.end(), 0) != counts.end())
    levels.push_back(follow_counts(*c.window, c.code, true));
  for (const int shift : shifts) {
    c.code.shift = shift;
    for (const Levels& l : levels) {
      place_knots(c.code, l);
      choose_prediction(c.code);
      consider();
    }
  }
}

// Families at two shifts, then the best few of them at all.
std::vector<Family> best_few(std::vector<Family> families, SymbolTable& scratch) {
  constexpr size_t kKept = 3;
  constexpr std::array kUsual = {3, 5};
  constexpr std::array kOthers = {0, 1, 2, 4, 6};
  std::vector<Family> best;
  for (Family& family : families) {
    const double limit =
        best.size() < kKept ? std::numeric_limits<double>::infinity() : best.back().best.bits;
    if (family.least_bits >= limit) break;  // the others take as many at least
    try_shifts(family, kUsual, limit, scratch);
    best.push_back(std::move(family));
    std::ranges::stable_sort(best, {}, [](const Family& f) { return f.best.bits; });
    if (best.size() > kKept) best.pop_back();
  }
  for (Family& family : best) try_shifts(family, kOthers, family.best.bits, scratch);
  return best;
}

}  // namespace

FittedTable fit_table(const Histogram& h, int precision) {
  FittedTable result;
  if (precision > 0) result.precision = precision;
  if (h.counts.empty()) {
    expand_table(result.code, result.precision, result.table);
    return result;
  }
  const std::vector<Window> windows = make_windows(h);
  SymbolTable scratch;
  Candidate c;
  for (Family& family : best_few(families_of(windows, precision, result.precision), scratch)) {
    Candidate& other = family.best;
    if (other.code.alphabet() > 1) {
      if (precision == 0) choose_precision(other, scratch);
      descend(other, scratch);
      if (precision == 0) choose_precision(other, scratch);
    }
    if (other.bits < c.bits) c = std::move(other);
  }
  if (c.window == nullptr) {  // more symbols than slots
    result.payload_bits = std::numeric_limits<double>::infinity();
    return result;
  }
  result.code = c.code;
  result.precision = c.precision;
  expand_table(c.code, c.precision, result.table);
  result.payload_bits = window_bits(*c.window, result.table.frequencies, c.precision);
  if (c.code.alphabet() > 1)
    result.payload_bits += static_cast<double>(h.total) * state_loss(c.precision);
  result.escape_bits = c.window->escape_bits;
  return result;
}

}  // namespace watersic
