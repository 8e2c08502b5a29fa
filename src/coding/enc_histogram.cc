#include "coding/enc_histogram.h"

#include <algorithm>
#include <cmath>

namespace watersic {
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

ClassCounter::ClassCounter(int classes) : dense_(static_cast<size_t>(classes) * 2 * kHalf, 0) {}

std::vector<Histogram> ClassCounter::histograms() {
  const size_t classes = dense_.size() / (2 * kHalf);
  std::vector<Histogram> result(classes);
  std::sort(others_.begin(), others_.end());
  auto other = others_.begin();
  for (size_t c = 0; c < classes; ++c) {
    Histogram& h = result[c];
    const auto add = [&](int32_t v, int64_t count) {
      if (!h.counts.empty() && h.counts.back().first == v) {
        h.counts.back().second += count;
      } else {
        h.counts.emplace_back(v, count);
      }
      h.total += count;
    };
    const auto add_others = [&](bool negative) {
      for (; other != others_.end() && other->first == static_cast<int>(c) &&
             (other->second < 0 || !negative);
           ++other)
        add(other->second, 1);
    };
    add_others(true);
    for (uint32_t slot = 0; slot < 2 * kHalf; ++slot) {
      const int64_t n = dense_[c * 2 * kHalf + slot];
      if (n > 0) add(static_cast<int32_t>(slot - kHalf), n);
    }
    add_others(false);
  }
  return result;
}

Histogram histogram_of(MatrixView<const int32_t> codes) {
  // Four classes in turn: equal neighbours would wait for each other's sums.
  ClassCounter counter(4);
  for (int64_t i = 0; i < codes.rows(); ++i) {
    const auto row = codes.row(i);
    for (size_t j = 0; j < row.size(); ++j) counter.add(static_cast<int>(j & 3), row[j]);
  }
  Histogram all;
  for (const Histogram& h : counter.histograms()) all.add(h);
  return all;
}

}  // namespace watersic
