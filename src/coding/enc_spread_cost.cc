#include "coding/enc_spread_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <span>

namespace watersic {
namespace {

constexpr int64_t kColumnBlock = 32, kRowBlock = 16;
constexpr int kDirect = 4096;  // magnitudes whose bin is looked up

const std::vector<uint16_t>& direct_bins() {
  static const std::vector<uint16_t> bins = [] {
    std::vector<uint16_t> table(kDirect);
    for (uint64_t i = 0; i < kDirect; ++i) table[i] = static_cast<uint16_t>(bin_of(i));
    return table;
  }();
  return bins;
}

// |m| of a code; with a scalar quantizer m = 2k.
inline uint64_t magnitude(int32_t code, int doubled) {
  return static_cast<uint64_t>(std::abs(int64_t{code})) << doubled;
}

// One histogram's nonzero entries: where other lines have class `other`.
struct Entry {
  int other, bin;
  float count;
};

// What the entries cost where the spread is theirs (`other`) plus first, first + 1, ..., one sum
// for each element of `sums`.
void add_costs(const std::vector<Entry>& entries, int first, const BinCosts& costs,
               std::span<float> sums) {
  std::ranges::fill(sums, 0.0F);
  for (const Entry& e : entries) {
    const float* cost = costs.from(e.other + first, e.bin);
    for (size_t j = 0; j < sums.size(); ++j) sums[j] += e.count * cost[j];
  }
}

// m of a bin, about.
double middle_of(int bin) {
  return bin < 64 ? bin : std::ldexp(8 + (bin - 64) % 8 + 0.5, (bin - 64) / 8 + 3);
}

// The costs of a line at lowest, lowest + 1, ..., one for each element of `bits`: around the value
// that its second moment asks for, up to where they rise, and INFINITY beyond.
void costs_near_best(const std::vector<Entry>& entries, int lowest, const BinCosts& costs,
                     std::span<float> bits) {
  constexpr int kNear = 16;
  double squares = 0, total = 0;
  for (const Entry& e : entries) {
    const double m = middle_of(e.bin);
    squares += static_cast<double>(e.count) * m * m * std::exp2(-e.other / 4.0);
    total += static_cast<double>(e.count);
  }
  std::ranges::fill(bits, INFINITY);
  const auto size = static_cast<int>(bits.size());
  const double best = squares > 0 ? kUnitSpread + 4 * std::log2(squares / (4 * total)) : lowest;
  const int middle = static_cast<int>(std::clamp<double>(best - lowest, 0, size - 1)),
            first = std::clamp(middle - kNear, 0, std::max(0, size - 2 * kNear)),
            end = std::min(size, first + 2 * kNear);
  const auto window = bits.subspan(static_cast<size_t>(first), static_cast<size_t>(end - first));
  add_costs(entries, lowest + first, costs, window);
  const auto least = std::ranges::min_element(window) - window.begin();
  if ((least == 0 && first > 0) || (least + 1 == std::ssize(window) && end < size))
    add_costs(entries, lowest, costs, bits);
}

// The kinds of the other lines, numbered.
struct Kinds {
  std::vector<int> values;  // of each kind
  std::vector<int> of;      // of each line
  explicit Kinds(const std::vector<int>& lines) {
    values = lines;
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    for (const int v : lines)
      of.push_back(
          static_cast<int>(std::lower_bound(values.begin(), values.end(), v) - values.begin()));
  }
};

int highest_bin(MatrixView<const int32_t> codes, int doubled, ThreadPool& pool) {
  const int64_t tiles = tile_count(codes.rows(), kRowBlock);
  std::vector<uint32_t> highest(static_cast<size_t>(tiles), 0);
  pool.parallel_for(tiles, [&](int64_t t) {
    uint32_t most = 0;
    for (int64_t r = t * kRowBlock; r < std::min(codes.rows(), (t + 1) * kRowBlock); ++r) {
      for (const int32_t v : codes.row(r)) {
        const auto u = static_cast<uint32_t>(v);
        most = std::max(most, v < 0 ? 0 - u : u);
      }
    }
    highest[static_cast<size_t>(t)] = most;
  });
  const uint64_t most = tiles == 0 ? 0 : *std::max_element(highest.begin(), highest.end());
  return bin_of(most << doubled);
}

std::vector<Entry> entries_of(const uint32_t* histogram, const Kinds& kinds, int bins) {
  std::vector<Entry> entries;
  for (size_t k = 0; k < kinds.values.size(); ++k) {
    if (kinds.values[k] == kZeroLine) continue;  // their integers cost nothing
    for (int b = 0; b < bins; ++b) {
      const uint32_t n = histogram[k * static_cast<size_t>(bins) + static_cast<size_t>(b)];
      if (n > 0) entries.push_back({kinds.values[k], b, static_cast<float>(n)});
    }
  }
  return entries;
}

bool all_zero(const std::vector<Entry>& entries) {
  return std::all_of(entries.begin(), entries.end(), [](const Entry& e) { return e.bin == 0; });
}

}  // namespace

int bin_of(uint64_t magnitude) {
  if (magnitude < 64) return static_cast<int>(magnitude);
  const int octave = std::bit_width(magnitude) - 1;  // >= 6
  return std::min(64 + (octave - 6) * 8 + static_cast<int>(magnitude >> (octave - 3) & 7),
                  kBins - 1);
}

BinCosts::BinCosts() : bits_(static_cast<size_t>(kWidth * kBins)) {
  constexpr double kEscape = 13;  // of the symbol alone
  for (int j = 0; j < kSpreads; ++j) {
    const double s = std::exp2((j - kUnitSpread) / 8.0);
    double z[2] = {1e-300, 1e-300};
    for (int m = 0; m < 64 + 16 * s; ++m)
      z[m & 1] += (m == 0 ? 1 : 2) * std::exp(-m * m / (8 * s * s));
    for (int b = 0; b < kBins; ++b) {
      const double m = middle_of(b);
      const double gaussian =
          m * m / (8 * s * s) * std::log2(std::exp(1.0)) + std::log2(z[b < 64 ? b & 1 : 0]);
      bits_[static_cast<size_t>(b * kWidth + kSpreads + j)] =
          static_cast<float>(std::min(gaussian, kEscape + 2 * std::log2(1 + m / (8 * s)) + 2));
    }
  }
  for (int b = 0; b < kBins; ++b) {
    const auto row = std::span(bits_).subspan(static_cast<size_t>(b * kWidth), kWidth);
    std::ranges::fill(row.first(kSpreads), row[kSpreads]);
    std::ranges::fill(row.last(kSpreads), row[2 * kSpreads - 1]);
  }
}

LineCosts column_costs(MatrixView<const int32_t> codes, bool trellis,
                       const std::vector<int>& row_offset, const BinCosts& costs,
                       ThreadPool& pool) {
  const int doubled = trellis ? 0 : 1;
  const Kinds kinds(row_offset);
  const int bins = highest_bin(codes, doubled, pool) + 1;
  const auto& direct = direct_bins();
  LineCosts result{Matrix<float>(codes.cols(), kSpreads), {}};
  std::vector<uint8_t> zero(static_cast<size_t>(codes.cols()), 0);
  pool.parallel_for(tile_count(codes.cols(), kColumnBlock), [&](int64_t t) {
    const int64_t first = t * kColumnBlock, n = std::min(kColumnBlock, codes.cols() - first);
    const size_t size = kinds.values.size() * static_cast<size_t>(bins);
    std::vector<uint32_t> histogram(size * static_cast<size_t>(n), 0);
    for (int64_t r = 0; r < codes.rows(); ++r) {
      const int32_t* row = &codes(r, first);
      if (r + 8 < codes.rows()) {  // rows lie far apart
        __builtin_prefetch(&codes(r + 8, first));
        __builtin_prefetch(&codes(r + 8, first) + 16);
      }
      uint32_t* h = histogram.data() + static_cast<size_t>(kinds.of[static_cast<size_t>(r)] * bins);
      for (int64_t i = 0; i < n; ++i, h += size) {
        const uint64_t m = magnitude(row[i], doubled);
        ++h[m < 64 ? m : m < kDirect ? direct[m] : static_cast<uint64_t>(bin_of(m))];
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      const auto entries =
          entries_of(histogram.data() + size * static_cast<size_t>(i), kinds, bins);
      zero[static_cast<size_t>(first + i)] = all_zero(entries) ? 1 : 0;
      costs_near_best(entries, 0, costs, result.bits.row(first + i));
    }
  });
  result.zero.assign(zero.begin(), zero.end());
  return result;
}

LineCosts row_costs(MatrixView<const int32_t> codes, bool trellis,
                    const std::vector<int>& column_spread, const BinCosts& costs,
                    ThreadPool& pool) {
  const int doubled = trellis ? 0 : 1;
  const Kinds kinds(column_spread);
  const int bins = highest_bin(codes, doubled, pool) + 1;
  const auto& direct = direct_bins();
  LineCosts result{Matrix<float>(codes.rows(), 2 * kMaxOffset + 1), {}};
  std::vector<uint8_t> zero(static_cast<size_t>(codes.rows()), 0);
  pool.parallel_for(tile_count(codes.rows(), kRowBlock), [&](int64_t t) {
    std::vector<uint32_t> histogram;
    std::vector<uint32_t> start;
    start.reserve(kinds.of.size());
    for (const int k : kinds.of) start.push_back(static_cast<uint32_t>(k * bins));
    for (int64_t r = t * kRowBlock; r < std::min(codes.rows(), (t + 1) * kRowBlock); ++r) {
      histogram.assign(kinds.values.size() * static_cast<size_t>(bins), 0);
      const auto row = codes.row(r);
      for (size_t i = 0; i < row.size(); ++i) {
        const uint64_t m = magnitude(row[i], doubled);
        ++histogram[start[i] + (m < 64        ? m
                                : m < kDirect ? direct[m]
                                              : static_cast<uint64_t>(bin_of(m)))];
      }
      const auto entries = entries_of(histogram.data(), kinds, bins);
      zero[static_cast<size_t>(r)] = all_zero(entries) ? 1 : 0;
      costs_near_best(entries, -kMaxOffset, costs, result.bits.row(r));
    }
  });
  result.zero.assign(zero.begin(), zero.end());
  return result;
}

}  // namespace watersic
