#include "coding/enc_estimate.h"

#include <algorithm>

#include "coding/enc_grid.h"
#include "coding/enc_histogram.h"
#include "coding/enc_spread.h"

namespace watersic {

double pooled_entropy(const Matrix<int32_t>& codes, bool trellis) {
  if (codes.empty()) return 0;
  const Histogram all = histogram_of(codes);
  if (!trellis) return all.entropy_bits() / static_cast<double>(codes.size());
  Histogram by_q[2];
  for (const auto& entry : all.counts) {
    by_q[entry.first & 1].counts.push_back(entry);
    by_q[entry.first & 1].total += entry.second;
  }
  return (by_q[0].entropy_bits() + by_q[1].entropy_bits()) / static_cast<double>(codes.size());
}

double class_entropy(const Matrix<int32_t>& codes, bool trellis, ThreadPool& pool, int64_t rows) {
  if (codes.empty()) return 0;
  if (rows <= 0) rows = codes.rows();
  const ClassFit fit = fit_classes(codes, trellis, {}, pool);
  const auto n = static_cast<double>(codes.size());
  const auto some = static_cast<double>(codes.rows()), all = static_cast<double>(rows),
             seen = static_cast<double>(fit.rows_seen);
  double bits = fit.integer_bits / n + fit.column_bits / n * some / all + fit.row_bits / n;
  // A spread fitted to few rows fits them better than it will fit the others: half a nat twice.
  const auto used = std::count_if(fit.classes.column.begin(), fit.classes.column.end(),
                                  [](int32_t u) { return u > 0; });
  bits +=
      1.44 * static_cast<double>(used) / static_cast<double>(codes.cols()) * (1 / seen - 1 / all);
  return std::min(bits, pooled_entropy(codes, trellis)) +
         grid_bits(choose_grid(rows, codes.cols(), {}, 0)) /
             (all * static_cast<double>(codes.cols()));
}

}  // namespace watersic
