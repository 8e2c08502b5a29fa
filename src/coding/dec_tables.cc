#include "coding/dec_tables.h"

#include <algorithm>

namespace watersic {

DecoderTables::DecoderTables(const CodingHead& head) : head_(&head) {
  const int p = head.precision;
  int64_t low = kMaxSymbolValue, high = kMinSymbolValue;
  for (const SymbolTable& t : head.tables) {
    if (t.frequencies.empty()) continue;
    low = std::min<int64_t>(low, t.base);
    high = std::max<int64_t>(high, t.base + t.symbols - 1);
  }
  base_ = static_cast<int32_t>(low);
  // Even, above all symbols.
  marker_ = static_cast<int32_t>((high + 2) & ~int64_t{1});
  packed_ = int64_t{marker_} + 1 - base_ < int64_t{1} << std::max(0, 32 - 2 * p);
  size_t size = 0;
  for (int c = 0; c < head.classes.count; ++c) {
    offsets_.push_back(static_cast<uint32_t>(size));
    for (int q = 0; q < head.qs; ++q) {
      if (!head.table(c, q).frequencies.empty()) size += size_t{1} << p;
    }
  }
  if (packed_) {
    entries_.resize(size);
  } else {
    slots_.resize(size);
  }
  size_t next = 0;
  for (const SymbolTable& t : head.tables) {
    for (size_t s = 0; s < t.frequencies.size(); ++s) {
      const auto i = static_cast<int64_t>(s);
      const auto value =
          static_cast<int32_t>(i < t.symbols ? t.base + i : marker_ + (i - t.symbols));
      const uint32_t f = t.frequencies[s];
      if (packed_) {
        const uint32_t entry = static_cast<uint32_t>(value - base_) << p << p | (f - 1) << p;
        for (uint32_t offset = 0; offset < f; ++offset) entries_[next + offset] = entry | offset;
      } else {
        for (uint32_t offset = 0; offset < f; ++offset)
          slots_[next + offset] = {value, static_cast<uint16_t>(f - 1),
                                   static_cast<uint16_t>(offset)};
      }
      next += f;
    }
  }
}

}  // namespace watersic
