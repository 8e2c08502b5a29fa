#include "coding/enc_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "coding/enc_histogram.h"
#include "coding/enc_sequence.h"

namespace watersic {
namespace {

// In bits a weight. Tables that do not fit into the decoder's caches, or into its packed form, must
// earn it: many tables of 2^13 slots instead of 2^12 save 0.0002 bit and cost a quarter of the
// speed.
constexpr double kBitsForPrecision = 0.00005, kBitsForManyTables = 0.00025;
constexpr double kBitsForUnpacked = 0.001;
constexpr int kLowestPrecision = 11, kHighestPrecision = 14;

// The integers k of each table.
using Histograms = std::vector<Histogram>;

Histograms class_histograms(const QuantizedTensor& t, const Classes& classes, ThreadPool& pool) {
  constexpr int64_t kRows = 64;
  const int64_t tiles = tile_count(t.rows, kRows);
  // Chunks of tiles, so that there are not too many partial histograms.
  const int64_t chunk = std::max<int64_t>(1, tile_count(tiles, 16)) * kRows;
  const int64_t chunks = tile_count(t.rows, chunk);
  std::vector<Histograms> parts(static_cast<size_t>(chunks));
  pool.parallel_for(chunks, [&](int64_t p) {
    ClassCounter counter(classes.count);
    for (int64_t r = p * chunk; r < std::min(t.rows, (p + 1) * chunk); ++r) {
      const auto row = t.codes.row(r);
      for (size_t i = 0; i < row.size(); ++i)
        counter.add(classes.at(r, static_cast<int64_t>(i)), row[i]);
    }
    parts[static_cast<size_t>(p)] = counter.histograms();
  });
  Histograms all(static_cast<size_t>(classes.count));
  for (const Histograms& part : parts)
    for (size_t c = 0; c < all.size(); ++c) all[c].add(part[c]);
  return all;
}

// By q: of m, the integers k.
Histograms split_parities(const Histograms& by_class) {
  Histograms result(2 * by_class.size());
  for (size_t c = 0; c < by_class.size(); ++c) {
    for (const auto& [m, count] : by_class[c].counts) {
      Histogram& h = result[2 * c + static_cast<size_t>(m & 1)];
      h.counts.emplace_back(m >> 1, count);
      h.total += count;
    }
  }
  return result;
}

class ModelFitter {
 public:
  ModelFitter(Classes classes, ColumnCode columns, double class_bits, Histograms histograms, int qs,
              ThreadPool& pool)
      : histograms_(std::move(histograms)), qs_(qs), pool_(pool), class_bits_(class_bits) {
    base_.classes = std::move(classes);
    base_.columns = std::move(columns);
    base_.qs = qs;
    for (const Histogram& h : histograms_) weights_ += static_cast<double>(h.total);
  }

  CodingModel best() {
    CodingModel best = base_;
    best.bits = std::numeric_limits<double>::infinity();
    for (int p = kLowestPrecision; p <= kHighestPrecision; ++p)
      keep_better(best, gaussian(p, 1, true));
    const int p = best.precision;
    for (int cut = 0; cut < 4; ++cut) {
      for (const bool escape : {false, true}) keep_better(best, gaussian(p, cut, escape));
    }
    keep_better(best, improved(best));
    if (base_.classes.count == 2) {  // the one table may want a precision of its own
      int own = 0;
      for (int q = 0; q < qs_; ++q)
        own = std::max(
            own,
            fit_table(histograms_[static_cast<size_t>(qs_) + static_cast<size_t>(q)]).precision);
      if (own != p) keep_better(best, improved(gaussian(own, 0, true)));
    }
    return best;
  }

 private:
  static void keep_better(CodingModel& best, CodingModel model) {
    if (model.bits < best.bits) best = std::move(model);
  }

  // All but the symbols: classes, the choice of tables, the escapes, speed.
  void finish(CodingModel& m, double payload, const EscapeBits& escapes) const {
    const auto least = std::min_element(escapes.begin(), escapes.end());
    m.escape_parameter = static_cast<int>(least - escapes.begin());
    m.bits =
        payload + static_cast<double>(*least) + class_bits_ + weights_ * state_loss(m.precision);
    bool packed = true;
    for (const SymbolTable& t : m.tables) {
      packed &= static_cast<int64_t>(t.frequencies.size()) + 2 <=
                int64_t{1} << std::max(0, 32 - 2 * m.precision);
    }
    const double slots = m.classes.count > 2 ? kBitsForManyTables : kBitsForPrecision;
    m.bits +=
        weights_ * (slots * (m.precision - kLowestPrecision) + (packed ? 0 : kBitsForUnpacked));
  }

  CodingModel gaussian(int precision, int cut, bool escape) const {
    CodingModel m = base_;
    m.precision = precision;
    m.cut = cut;
    m.escape = escape;
    m.tables.resize(histograms_.size());
    m.fitted.resize(histograms_.size());
    double payload = 0;
    EscapeBits escapes{};
    for (size_t i = 0; i < m.tables.size(); ++i) {
      const int c = static_cast<int>(i) / qs_, q = static_cast<int>(i) % qs_;
      if (c == 0) {
        m.tables[i].frequencies = {1U << precision};
      } else if (!gaussian_table(m.classes.spread(c), q, precision, cut, escape, m.tables[i])) {
        m.bits = std::numeric_limits<double>::infinity();
        return m;
      }
      payload += payload_bits(histograms_[i], m.tables[i], precision, escapes);
    }
    finish(m, payload, escapes);
    return m;
  }

  // With fitted tables where they pay.
  CodingModel improved(CodingModel m) const {
    if (std::isinf(m.bits)) return m;
    const size_t n = m.tables.size();
    std::vector<double> payloads(n, 0);
    std::vector<EscapeBits> escapes(n, EscapeBits{});
    pool_.parallel_for(static_cast<int64_t>(n), [&](int64_t at) {
      const auto i = static_cast<size_t>(at);
      const Histogram& h = histograms_[i];
      EscapeBits own{};
      payloads[i] = payload_bits(h, m.tables[i], m.precision, own);
      escapes[i] = own;
      const double gaussian =
          payloads[i] + static_cast<double>(*std::min_element(own.begin(), own.end()));
      constexpr double kLeast = 40;  // bits of a fitted table
      if (i < static_cast<size_t>(qs_) || h.total == 0 || h.entropy_bits() + kLeast > gaussian)
        return;
      const FittedTable fit = fit_table(h, m.precision);
      const double fitted =
          fit.payload_bits +
          static_cast<double>(fit.table_bits() +
                              *std::min_element(fit.escape_bits.begin(), fit.escape_bits.end()));
      if (fitted + 1 > gaussian) return;
      payloads[i] = fit.payload_bits - static_cast<double>(h.total) * state_loss(m.precision) +
                    static_cast<double>(fit.table_bits());
      escapes[i] = fit.escape_bits;
      m.tables[i] = fit.table;
      m.fitted[i] = fit.code;
    });
    if (!m.any_fitted()) return m;
    double payload = static_cast<double>(n - static_cast<size_t>(qs_));  // a bit for each table
    EscapeBits all{};
    for (size_t i = 0; i < n; ++i) {
      payload += payloads[i];
      for (size_t k = 0; k < all.size(); ++k) all[k] += escapes[i][k];
    }
    finish(m, payload, all);
    return m;
  }

  Histograms histograms_;
  int qs_;
  ThreadPool& pool_;
  double class_bits_, weights_ = 0;
  CodingModel base_;
};

// Every `factor` classes made one.
Classes coarser(const Classes& fine, int factor) {
  Classes c = fine;
  c.step = fine.step * factor;
  c.first = std::min(fine.first + fine.step * (factor / 2), kSpreads - 1);
  const auto merge = [&](int u) { return u == 0 ? 0 : 1 + (u - 1) / factor; };
  for (int32_t& u : c.column) u = merge(u);
  c.count = merge(fine.count - 1) + 1;
  return c;
}

Histograms coarser(const Histograms& fine, const Classes& classes, int factor) {
  Histograms result(static_cast<size_t>(classes.count));
  for (size_t c = 0; c < fine.size(); ++c)
    result[c == 0 ? 0 : 1 + (c - 1) / static_cast<size_t>(factor)].add(fine[c]);
  return result;
}

// The spread of one class: from the second moment, then by cost.
int one_spread(const Histograms& histograms, int qs) {
  double squares = 0, total = 0;
  for (size_t i = 0; i < histograms.size(); ++i) {
    for (const auto& [k, count] : histograms[i].counts) {
      const double z = k + (qs == 2 && i % 2 == 1 ? 0.5 : 0);
      squares += z * z * static_cast<double>(count);
      total += static_cast<double>(count);
    }
  }
  const double mean = std::max(squares / std::max(total, 1.0), 1e-9);
  const int guess = kUnitSpread + static_cast<int>(std::lround(4 * std::log2(mean)));
  int best = 0;
  double best_bits = std::numeric_limits<double>::infinity();
  for (int j = guess - 8; j <= guess + 2; ++j) {  // outliers make the moment too large
    const int spread = std::clamp(j, 0, kSpreads - 1);
    double bits = 0;
    for (int q = 0; q < qs; ++q) {
      SymbolTable table;
      EscapeBits escapes{};
      gaussian_table(spread, q, kHighestPrecision, 1, true, table);
      bits += payload_bits(histograms[static_cast<size_t>(qs) + static_cast<size_t>(q)], table,
                           kHighestPrecision, escapes);
      bits += static_cast<double>(*std::min_element(escapes.begin(), escapes.end()));
    }
    if (bits < best_bits) {
      best_bits = bits;
      best = spread;
    }
  }
  return best;
}

CodingModel fit_one(const Histogram& all, bool trellis, ThreadPool& pool) {
  Histograms histograms(2);
  histograms[1] = all;
  if (trellis) histograms = split_parities(histograms);
  const int qs = trellis ? 2 : 1;
  Classes one;
  one.first = one_spread(histograms, qs);
  return ModelFitter(one, {}, 0, histograms, qs, pool).best();
}

CodingModel fit_tables(const QuantizedTensor& t, const Classes& classes,
                       const Histograms& histograms, ThreadPool& pool) {
  const bool trellis = t.trellis > 0;
  const ColumnCode columns = code_columns(classes, t.column_scale.half);
  double bits = columns.bits + 2 + 7 + 8 + 1;
  if (classes.kind == Classes::kRows)
    bits += sequence_bits({classes.row.begin(), classes.row.end()});
  return ModelFitter(classes, columns, bits, trellis ? split_parities(histograms) : histograms,
                     trellis ? 2 : 1, pool)
      .best();
}

}  // namespace

bool CodingModel::any_fitted() const {
  return std::any_of(fitted.begin(), fitted.end(), [](const auto& f) { return f.has_value(); });
}

bool CodingModel::any_escape() const {
  return escape ||
         std::any_of(fitted.begin(), fitted.end(), [](const auto& f) { return f && f->escape; });
}

CodingModel fit_pooled(const QuantizedTensor& t, ThreadPool& pool) {
  return fit_one(class_histograms(t, Classes{}, pool)[1], t.trellis > 0, pool);
}

CodingModel fit_best(const QuantizedTensor& t, ThreadPool& pool) {
  const std::span<const uint16_t> scale(t.column_scale.half);
  const ClassFit fit = fit_classes(t.codes, t.trellis > 0, scale, pool);
  const Histograms histograms = class_histograms(t, fit.classes, pool);
  Histogram all;
  for (const Histogram& h : histograms) all.add(h);
  CodingModel best = fit_one(all, t.trellis > 0, pool);
  for (const int factor : {1, 2, 4}) {
    if (factor > 1 && (fit.classes.kind == Classes::kRows || fit.classes.step * factor > 8)) break;
    const Classes classes = factor == 1 ? fit.classes : coarser(fit.classes, factor);
    CodingModel m = fit_tables(
        t, classes, factor == 1 ? histograms : coarser(histograms, classes, factor), pool);
    if (m.bits < best.bits) best = std::move(m);
  }
  return best;
}

CodingModel fit_model(const QuantizedTensor& t, Coder coder, ThreadPool& pool,
                      const CodingModel* like) {
  if (coder == Coder::kPooled) return fit_pooled(t, pool);
  if (like == nullptr || like->classes.kind == Classes::kOne) return fit_best(t, pool);
  const Histograms histograms = class_histograms(t, like->classes, pool);
  // What had nothing but zeros may have others now.
  for (const auto& [k, count] : histograms[0].counts)
    if (k != 0) return fit_best(t, pool);
  return fit_tables(t, like->classes, histograms, pool);
}

void refit_columns(const QuantizedTensor& tensor, CodingModel& model) {
  if (model.classes.kind != Classes::kOne)
    model.columns = code_columns(model.classes, tensor.column_scale.half);
}

void write_model(HeadWriter& out, const CodingModel& m) {
  const Classes& c = m.classes;
  out.bits(static_cast<uint64_t>(m.precision - kMinPrecision), 3);
  out.bits(static_cast<uint64_t>(m.cut), 2);
  out.bits(m.escape ? 1 : 0, 1);
  out.bits(static_cast<uint64_t>(m.escape_parameter), 5);
  out.bits(static_cast<uint64_t>(c.kind), 2);
  out.bits(static_cast<uint64_t>(c.first), 7);
  if (c.kind != Classes::kOne) {
    out.bits(static_cast<uint64_t>(std::countr_zero(static_cast<unsigned>(c.step))), 2);
    out.exp_golomb(static_cast<uint64_t>(c.count - 2), 3);
    out.bits(m.columns.predicted ? 1 : 0, 1);
    if (m.columns.predicted) out.exp_golomb(zigzag(m.columns.center), 8);
    write_sequence(out, m.columns.numbers);
    if (c.kind == Classes::kRows) write_sequence(out, {c.row.begin(), c.row.end()});
  }
  out.bits(m.any_fitted() ? 1 : 0, 1);
  if (!m.any_fitted()) return;
  for (size_t i = static_cast<size_t>(m.qs); i < m.fitted.size(); ++i) {
    const std::optional<TableCode>& code = m.fitted[i];
    out.bits(code ? 1 : 0, 1);
    if (code) write_table(out, *code);
  }
}

}  // namespace watersic
