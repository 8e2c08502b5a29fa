#include "coding/enc_tile.h"

#include <algorithm>
#include <cassert>

#include "coding/common_rans.h"

namespace watersic {

EncoderTables::EncoderTables(const CodingModel& model) : model_(&model) {
  for (const SymbolTable& t : model.tables) {
    ranges_.push_back({t.base, static_cast<uint64_t>(t.symbols), symbols_.size()});
    uint32_t start = 0;
    for (const uint32_t f : t.frequencies) {
      symbols_.push_back({f, start});
      start += f;
    }
    if (!t.escape) symbols_.resize(symbols_.size() + 2);
  }
}

std::vector<uint16_t> encode_tile(MatrixView<const int32_t> codes, const TileGrid::Tile& tile,
                                  const EncoderTables& tables, bool trellis, int lanes) {
  constexpr int64_t kAhead = 8;
  const int64_t rows = tile.rows, columns = tile.columns;
  const CodingModel& model = tables.model();
  const int precision = model.precision;
  uint32_t states[kMaxLanes];
  std::fill(std::begin(states), std::end(states), kLowerBound);
  // Everything runs backwards: the last integer first, words from the end of the buffer. An integer
  // emits at most one.
  std::vector<uint16_t> stream(static_cast<size_t>(rows * columns));
  uint16_t* out = stream.data() + stream.size();
  std::vector<uint64_t> escapes;
  for (int64_t first = (columns - 1) / lanes * lanes; first >= 0; first -= lanes) {
    const auto active = static_cast<int>(std::min<int64_t>(lanes, columns - first));
    int32_t u[kMaxLanes];
    for (int l = 0; l < active; ++l) {
      const auto i = static_cast<size_t>(tile.column + first + l);
      u[l] = model.classes.column.empty() ? 1 : model.classes.column[i];
    }
    for (int64_t r = rows - 1; r >= 0; --r) {
      const int32_t* row = &codes(r, first);
      if (r >= kAhead) {  // rows lie far apart in a wide matrix
        for (int l = 0; l < active; l += 16) __builtin_prefetch(&codes(r - kAhead, first + l));
      }
      const int32_t v =
          model.classes.row.empty() ? 1 : model.classes.row[static_cast<size_t>(tile.row + r)];
      for (int l = active - 1; l >= 0; --l) {
        const auto c = static_cast<size_t>(model.classes.of(u[l], v));
        const int32_t k = trellis ? row[l] >> 1 : row[l];
        const size_t t = trellis ? 2 * c + static_cast<size_t>(row[l] & 1) : c;
        const auto [f, start] = tables.symbol(t, k);
        assert(f > 0);
        if (tables.escaped(t, k)) escapes.push_back(escape_code(model.tables[t], k));
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
  for (int l = 0; l < std::min<int64_t>(lanes, columns); ++l) write_state(head, states[l]);
  if (model.any_escape()) head.exp_golomb(escapes.size(), 3);
  std::for_each(escapes.rbegin(), escapes.rend(),
                [&](uint64_t e) { head.exp_golomb(e, model.escape_parameter); });
  std::vector<uint16_t> words = head.finish();
  words.insert(words.end(), out, stream.data() + stream.size());
  return words;
}

}  // namespace watersic
