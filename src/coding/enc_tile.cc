#include "coding/enc_tile.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "coding/common_rans.h"

namespace watersic {

EncoderTable::EncoderTable(const FittedTable& table) : code_(table.code) {
  uint32_t start = 0;
  for (const uint32_t f : table.frequencies) {
    symbols_.push_back({f, start});
    start += f;
  }
  symbols_.resize(static_cast<size_t>(code_.symbols) + 1);
}

std::vector<uint16_t> encode_tile(MatrixView<const int32_t> codes,
                                  std::span<const EncoderTable* const> table_of, int lanes,
                                  int escape_parameter) {
  constexpr int64_t kAhead = 8;
  const int64_t rows = codes.rows(), columns = codes.cols();
  uint32_t states[kMaxLanes];
  std::fill(std::begin(states), std::end(states), kLowerBound);
  // Everything runs backwards: the last integer first, words from the end of the buffer. An integer
  // emits at most one.
  std::vector<uint16_t> stream(static_cast<size_t>(rows * columns));
  uint16_t* out = stream.data() + stream.size();
  std::vector<uint64_t> escapes;
  for (int64_t first = (columns - 1) / lanes * lanes; first >= 0; first -= lanes) {
    const auto active = static_cast<int>(std::min<int64_t>(lanes, columns - first));
    const EncoderTable* const* tables = table_of.data() + first;
    for (int64_t r = rows - 1; r >= 0; --r) {
      const int32_t* row = &codes(r, first);
      if (r >= kAhead) {  // rows lie far apart in a wide matrix
        for (int l = 0; l < active; l += 16) __builtin_prefetch(&codes(r - kAhead, first + l));
      }
      for (int l = active - 1; l >= 0; --l) {
        const EncoderTable& table = *tables[l];
        const int precision = table.code().precision;
        const auto [f, start] = table.symbol(row[l]);
        assert(f > 0);
        if (table.escaped(row[l])) escapes.push_back(escape_code(table.code(), row[l]));
        uint32_t x = states[l];
        if (x >= uint64_t{f} << (32 - precision)) {
          *--out = static_cast<uint16_t>(x);
          x >>= 16;
        }
        states[l] = ((x / f) << precision) + x % f + start;
      }
    }
  }

  BitWriter head;
  for (int l = 0; l < std::min<int64_t>(lanes, columns); ++l) {
    const int width = std::bit_width(states[l]);  // 17 to 32
    head.bits(static_cast<uint64_t>(width - 17), 4);
    head.bits(states[l] - std::bit_floor(states[l]), width - 1);
  }
  const bool may_escape = std::any_of(table_of.begin(), table_of.end(),
                                      [](const EncoderTable* t) { return t->code().escape; });
  if (may_escape) head.exp_golomb(escapes.size(), 3);
  std::for_each(escapes.rbegin(), escapes.rend(),
                [&](uint64_t u) { head.exp_golomb(u, escape_parameter); });
  std::vector<uint16_t> words = head.finish();
  words.insert(words.end(), out, stream.data() + stream.size());
  return words;
}

}  // namespace watersic
