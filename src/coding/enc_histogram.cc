#include "coding/enc_histogram.h"

#include <algorithm>
#include <cmath>

namespace watersic {
namespace {

// Values that are counted in an array; the few beyond are sorted.
constexpr int64_t kDense = 1 << 13;

}  // namespace

void Histogram::add(const Histogram& other) {
  std::vector<std::pair<int32_t, int64_t>> merged;
  merged.reserve(counts.size() + other.counts.size());
  auto a = counts.begin();
  for (const auto& entry : other.counts) {
    for (; a != counts.end() && a->first < entry.first; ++a) merged.push_back(*a);
    if (a != counts.end() && a->first == entry.first) {
      merged.emplace_back(entry.first, entry.second + a->second);
      ++a;
    } else {
      merged.push_back(entry);
    }
  }
  merged.insert(merged.end(), a, counts.end());
  counts = std::move(merged);
  total += other.total;
}

double Histogram::entropy_bits() const {
  double bits = 0;
  for (const auto& [value, count] : counts) {
    bits += static_cast<double>(count) *
            std::log2(static_cast<double>(total) / static_cast<double>(count));
  }
  return bits;
}

Histogram histogram_of(MatrixView<const int32_t> codes, const std::vector<int64_t>* columns) {
  // Four arrays in turn: equal neighbours would wait for each other's sums.
  std::vector<int64_t> dense(4 * 2 * kDense, 0);
  std::vector<int32_t> others;
  const auto count = [&](int32_t v, int64_t way) {
    const int64_t slot = static_cast<int64_t>(v) + kDense;
    if (slot >= 0 && slot < 2 * kDense) {
      ++dense[static_cast<size_t>(way * 2 * kDense + slot)];
    } else {
      others.push_back(v);
    }
  };
  for (int64_t i = 0; i < codes.rows(); ++i) {
    const auto row = codes.row(i);
    if (columns == nullptr) {
      for (size_t j = 0; j < row.size(); ++j) count(row[j], static_cast<int64_t>(j) & 3);
    } else {
      for (const int64_t j : *columns) count(row[static_cast<size_t>(j)], j & 3);
    }
  }

  Histogram h;
  std::sort(others.begin(), others.end());
  const auto add_others = [&](auto from, auto to) {
    while (from != to) {
      const auto next = std::upper_bound(from, to, *from);
      h.counts.emplace_back(*from, next - from);
      from = next;
    }
  };
  const auto middle = std::lower_bound(others.begin(), others.end(), 0);
  add_others(others.begin(), middle);
  for (int64_t slot = 0; slot < 2 * kDense; ++slot) {
    int64_t n = 0;
    for (int64_t way = 0; way < 4; ++way) n += dense[static_cast<size_t>(way * 2 * kDense + slot)];
    if (n > 0) h.counts.emplace_back(static_cast<int32_t>(slot - kDense), n);
  }
  add_others(middle, others.end());
  for (const auto& entry : h.counts) h.total += entry.second;
  return h;
}

}  // namespace watersic
