#include "coding/common_gauss.h"

#include <algorithm>

namespace watersic {

bool gaussian_table(int spread, int q, int precision, int cut, bool escape, SymbolTable& table) {
  // Weights of m = q, q + 2, ...; those of the negative m are the same.
  std::vector<uint64_t> half;
  uint64_t sum = 0;
  for (int64_t m = q;; m += 2) {
    const uint64_t drop = gaussian_drop(spread, q, m);
    if (drop > kMaxLevel) break;
    half.push_back(weight_of_level(kMaxLevel - static_cast<int64_t>(drop)));
    sum += m == 0 ? half.back() : 2 * half.back();
  }
  size_t kept = 1;
  while (kept < half.size() && kept < kMaxSymbols / 2 - 2 && half[kept] << (precision + cut) >= sum)
    ++kept;

  // q = 0: m = -2(kept - 1) .. 2(kept - 1); q = 1: m = -(2 kept - 1) .. 2 kept - 1.
  const auto n = static_cast<int64_t>(kept);
  table.base = static_cast<int32_t>(q == 0 ? 1 - n : -n);
  table.symbols = q == 0 ? 2 * n - 1 : 2 * n;
  table.escape = escape;
  std::vector<uint64_t> weights;
  for (int64_t k = table.base; k < table.base + table.symbols; ++k) {
    const int64_t m = 2 * k + q;
    weights.push_back(half[static_cast<size_t>((m < 0 ? -m : m) / 2)]);
  }
  if (escape) {
    uint64_t tail[2] = {0, 0};
    for (int64_t i = n; i < static_cast<int64_t>(half.size()); ++i) {
      const int64_t above = i, below = -i - q;  // k
      tail[above & 1] += half[static_cast<size_t>(i)];
      tail[below & 1] += half[static_cast<size_t>(i)];
    }
    weights.push_back(std::max<uint64_t>(1, tail[0]));
    weights.push_back(std::max<uint64_t>(1, tail[1]));
  }
  return share_slots(weights, precision, table.frequencies);
}

}  // namespace watersic
