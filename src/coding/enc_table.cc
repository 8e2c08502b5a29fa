#include "coding/enc_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "coding/enc_window.h"

namespace watersic {
namespace {

struct Candidate {
  TableCode code;
  int precision = FittedTable::kDefaultPrecision;
  const Window* window = nullptr;
  double bits = std::numeric_limits<double>::infinity();  // all: table, symbols, escapes
};

double window_bits(const Window& w, const std::vector<uint32_t>& f, int precision) {
  double bits = 0;
  for (size_t v = 0; v < w.counts.size(); ++v) {
    if (w.counts[v] == 0) continue;
    if (f[v] == 0) return std::numeric_limits<double>::infinity();
    bits += static_cast<double>(w.counts[v]) * (precision - std::log2(static_cast<double>(f[v])));
  }
  for (size_t odd = 0; odd < 2; ++odd) {
    if (w.escapes[odd] > 0)
      bits += static_cast<double>(w.escapes[odd]) *
              (precision - std::log2(static_cast<double>(f[w.counts.size() + odd])));
  }
  return bits;
}

int64_t bits_of_table(const TableCode& code) {
  BitCounter counter;
  write_table(counter, code);
  return counter.size();
}

// Infinite where the code is no table.
double cost(const Candidate& c, SymbolTable& scratch) {
  if (!expand_table(c.code, c.precision, scratch)) return std::numeric_limits<double>::infinity();
  const Window& w = *c.window;
  return window_bits(w, scratch.frequencies, c.precision) +
         static_cast<double>(w.total) * state_loss(c.precision) +
         static_cast<double>(bits_of_table(c.code) + w.cheapest_escapes());
}

// Knots that follow the counts. `fill`: a missing value is taken for half a one, not for an absent
// symbol.
void place_knots(Candidate& c, bool fill) {
  const Window& w = *c.window;
  TableCode& code = c.code;
  const int64_t n = code.knot_count(), step = int64_t{1} << code.spacing;
  std::vector<double> level(static_cast<size_t>(n), -1);  // 64 log2 of a count; -1: absent
  double highest = -1e9, lowest = 1e9;
  const auto note = [&](double count) {
    const double l = 64 * std::log2(count);
    highest = std::max(highest, l);
    lowest = std::min(lowest, l);
    return l;
  };
  std::vector<bool> absent(static_cast<size_t>(n), false);
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0, weights = 0;
    for (int64_t v = std::max<int64_t>(0, (i - 1) * step + 1);
         v < std::min(code.symbols, (i + 1) * step); ++v) {
      const double share = static_cast<double>(step - std::abs(v - i * step));
      sum += share * static_cast<double>(w.counts[static_cast<size_t>(v)]);
      weights += share;
    }
    const bool none = sum == 0 && !fill && code.spacing == 0;
    absent[static_cast<size_t>(i)] = none;
    if (none) continue;
    level[static_cast<size_t>(i)] = note(std::max(sum / std::max(weights, 1.0), fill ? 0.5 : 0.1));
  }
  const double escapes = std::max(0.5 * static_cast<double>(w.escapes[0] + w.escapes[1]), 0.5);
  if (w.escape()) note(escapes);
  lowest = std::max(lowest, highest - kMaxLevel + 64);  // those below get the one slot anyway
  const auto knot_of = [&](double l) {
    return static_cast<int32_t>(std::lround(std::max(l - lowest, 0.0) / (1 << code.shift)));
  };
  code.knots.assign(static_cast<size_t>(n), 0);
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    if (!absent[i]) code.knots[i] = knot_of(level[i]) + (code.spacing == 0 ? 1 : 0);
  }
  code.escape_knot = w.escape() ? knot_of(64 * std::log2(escapes)) : 0;
}

// The prediction that makes the description of the knots shortest.
void choose_prediction(TableCode& code) {
  const int64_t n = code.knot_count();
  int64_t best_bits = std::numeric_limits<int64_t>::max();
  TableCode best = code;
  std::vector<int64_t> residuals;
  for (int order = 1; order <= 2; ++order) {
    code.order = order;
    code.bias = 0;
    residuals.clear();
    for (int64_t i = order; i < n; ++i)
      residuals.push_back(code.knots[static_cast<size_t>(i)] - code.prediction(i));
    if (!residuals.empty()) {
      const auto middle = residuals.begin() + static_cast<int64_t>(residuals.size() / 2);
      std::nth_element(residuals.begin(), middle, residuals.end());
      code.bias = *middle;
    }
    for (code.parameter = 0; code.parameter < 12; ++code.parameter) {
      const int64_t bits = bits_of_table(code);
      if (bits < best_bits) {
        best_bits = bits;
        best = code;
      }
    }
  }
  code = best;
}

// Moves knots by one as long as that saves bits.
void descend(Candidate& c, SymbolTable& scratch) {
  c.bits = cost(c, scratch);
  const auto try_step = [&](int32_t& knot, int32_t lowest) {
    bool moved = false;
    for (const int32_t step : {1, -1}) {
      while (knot + step >= lowest) {
        knot += step;
        const double bits = cost(c, scratch);
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
    other.bits = cost(other, scratch);
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
    other.bits = cost(other, scratch);
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

FittedTable fit_table(const Histogram& h, int precision) {
  FittedTable result;
  if (precision > 0) result.precision = precision;
  if (h.counts.empty()) {
    expand_table(result.code, result.precision, result.table);
    return result;
  }
  const std::vector<Window> windows = make_windows(h);
  constexpr size_t kKept = 3;
  std::vector<Candidate> best;
  SymbolTable scratch;
  const auto consider = [&](Candidate& c) {
    c.bits = cost(c, scratch);
    if (best.size() == kKept && !(c.bits < best.back().bits)) return;
    const auto place = std::upper_bound(
        best.begin(), best.end(), c, [](const auto& a, const auto& b) { return a.bits < b.bits; });
    best.insert(place, c);
    if (best.size() > kKept) best.pop_back();
  };
  for (const Window& w : windows) {
    Candidate c;
    c.window = &w;
    c.code.base = static_cast<int32_t>(w.base);
    c.code.symbols = static_cast<int64_t>(w.counts.size());
    c.code.escape = w.escape();
    c.precision = std::max(result.precision, least_precision(c.code.alphabet()));
    if (precision > 0 && c.precision > precision) continue;
    if (c.code.alphabet() == 1) {
      consider(c);
      continue;
    }
    const bool holes = std::find(w.counts.begin(), w.counts.end(), 0) != w.counts.end();
    for (c.code.spacing = 0; c.code.spacing <= 7; ++c.code.spacing) {
      if (c.code.spacing > 0 && c.code.symbols >> c.code.spacing < 3) break;
      for (c.code.shift = 0; c.code.shift <= 6; ++c.code.shift) {
        for (const bool fill : {false, true}) {
          if (fill && (!holes || c.code.spacing > 0)) continue;
          place_knots(c, fill);
          choose_prediction(c.code);
          consider(c);
        }
      }
    }
  }
  if (best.empty()) {  // more symbols than slots
    result.payload_bits = std::numeric_limits<double>::infinity();
    return result;
  }
  for (Candidate& c : best) {
    if (c.code.alphabet() == 1) continue;
    if (precision == 0) choose_precision(c, scratch);
    descend(c, scratch);
    if (precision == 0) choose_precision(c, scratch);
  }
  const Candidate& c = *std::min_element(
      best.begin(), best.end(), [](const auto& a, const auto& b) { return a.bits < b.bits; });
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
