#include "coding/enc_window.h"

#include "coding/enc_bits.h"

namespace watersic {

void add_escapes(EscapeBits& bits, uint64_t code, int64_t count) {
  for (int k = 0; k < kEscapeParameters; ++k)
    bits[static_cast<size_t>(k)] += count * exp_golomb_bits(code, k);
}

namespace {

// From entry `first` to `end` of the histogram; with none, a table of 0 that never occurs.
Window make_window(const Histogram& h, size_t first, size_t end) {
  Window w;
  w.total = h.total;
  w.base = first < end ? h.counts[first].first : 0;
  w.counts.assign(first < end ? static_cast<size_t>(h.counts[end - 1].first - w.base + 1) : 1, 0);
  SymbolTable range;
  range.base = static_cast<int32_t>(w.base);
  range.symbols = static_cast<int64_t>(w.counts.size());
  for (size_t i = 0; i < h.counts.size(); ++i) {
    const auto [value, count] = h.counts[i];
    if (i >= first && i < end) {
      w.counts[static_cast<size_t>(value - w.base)] = count;
      continue;
    }
    w.escapes[value & 1] += count;
    add_escapes(w.escape_bits, escape_code(range, value), count);
  }
  return w;
}

}  // namespace

std::vector<Window> make_windows(const Histogram& h) {
  // The most that fits: at each first value as far as the alphabet reaches.
  const auto before = [](const auto& entry, int32_t value) { return entry.first < value; };
  const auto index_of = [&](int32_t value) {
    return static_cast<size_t>(std::lower_bound(h.counts.begin(), h.counts.end(), value, before) -
                               h.counts.begin());
  };
  const size_t lowest = index_of(kMinSymbolValue), highest = index_of(kMaxSymbolValue + 1);
  size_t first = lowest, end = lowest;
  int64_t most = -1, covered = 0;
  for (size_t i = lowest, j = lowest; i < highest; ++i) {
    for (; j < highest && int64_t{h.counts[j].first} - h.counts[i].first < kMaxSymbols - 2; ++j)
      covered += h.counts[j].second;
    if (covered > most) {
      most = covered;
      first = i;
      end = j;
    }
    covered -= h.counts[i].second;
  }
  std::vector<Window> windows;
  windows.push_back(make_window(h, first, end));
  size_t a = first, b = end;
  int64_t below = 0, above = 0;
  for (int64_t spared = 1; spared <= h.total / 32 && a < b; spared *= 2) {
    const size_t a0 = a, b0 = b;
    while (a + 1 < b && below + h.counts[a].second <= spared) below += h.counts[a++].second;
    while (b > a + 1 && above + h.counts[b - 1].second <= spared) above += h.counts[--b].second;
    if (a != a0 || b != b0) windows.push_back(make_window(h, a, b));
  }
  return windows;
}

}  // namespace watersic
