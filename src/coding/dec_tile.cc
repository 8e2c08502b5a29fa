#include "coding/dec_tile.h"

#include <algorithm>

#include "coding/common_rans.h"

namespace watersic {
namespace {

// The lanes of one pass: what each needs to decode its column.
struct Lane {
  const uint32_t* packed = nullptr;
  const Slot* slots = nullptr;
  uint32_t mask = 0;
  int precision = 0;
  int32_t base = 0;
};

struct Stream {
  WordSpan words;
  size_t next = 0;
  size_t left() const { return words.size() - next; }
};

constexpr int64_t kAhead = 8;  // rows

// One integer: the state goes on, without its renormalisation.
template <bool kPacked>
inline int32_t step(const Lane& lane, uint32_t& x) {
  const uint32_t slot = x & lane.mask;
  if constexpr (kPacked) {
    const uint32_t entry = lane.packed[slot];
    x = (((entry >> lane.precision) & lane.mask) + 1) * (x >> lane.precision) + (entry & lane.mask);
    return lane.base + static_cast<int32_t>(entry >> (2 * lane.precision));
  } else {
    const Slot entry = lane.slots[slot];
    x = (uint32_t{entry.frequency_minus_1} + 1) * (x >> lane.precision) + entry.offset;
    return lane.base + entry.symbol;
  }
}

// Rows [0, rows) of one pass, for which the stream is known to hold a word for each integer. The
// word is read whether it is needed or not: a mispredicted branch would cost more than the load.
template <bool kPacked, bool kOneTable>
void decode_rows(Stream& stream, const Lane* lanes, int active, uint32_t* states,
                 MatrixView<int32_t> codes) {
  size_t next = stream.next;
  const WordSpan words = stream.words;
  const Lane only = lanes[0];
  for (int64_t r = 0; r < codes.rows(); ++r) {
    int32_t* row = codes.row(r).data();
    // Rows lie far apart in a wide matrix: the hardware does not foresee the next.
    if (r + kAhead < codes.rows()) {
      for (int l = 0; l < active; l += 16) __builtin_prefetch(&codes(r + kAhead, l), 1);
    }
    for (int l = 0; l < active; ++l) {
      uint32_t x = states[l];
      row[l] = step<kPacked>(kOneTable ? only : lanes[l], x);
      const uint32_t low = x < kLowerBound ? 1 : 0;
      states[l] = x << (16 * low) | (words[next] & (0 - low));
      next += low;
    }
  }
  stream.next = next;
}

// The same near the end of the stream, with a check before each word.
template <bool kPacked>
void decode_row_checked(Stream& stream, const Lane* lanes, int active, uint32_t* states,
                        int32_t* row, const std::string& name) {
  for (int l = 0; l < active; ++l) {
    uint32_t x = states[l];
    row[l] = step<kPacked>(lanes[l], x);
    if (x < kLowerBound) {
      if (stream.left() == 0) damaged(name, "a tile's words run out");
      x = x << 16 | stream.words[stream.next++];
    }
    states[l] = x;
  }
}

template <bool kPacked>
void decode_pass(Stream& stream, const Lane* lanes, int active, bool one_table, uint32_t* states,
                 MatrixView<int32_t> codes, const std::string& name) {
  for (int64_t r = 0; r < codes.rows();) {
    const int64_t safe =
        std::min<int64_t>(static_cast<int64_t>(stream.left()) / active, codes.rows() - r);
    if (safe == 0) {
      decode_row_checked<kPacked>(stream, lanes, active, states, codes.row(r).data(), name);
      ++r;
      continue;
    }
    const auto block = codes.block(r, 0, safe, codes.cols());
    if (one_table) {
      decode_rows<kPacked, true>(stream, lanes, active, states, block);
    } else {
      decode_rows<kPacked, false>(stream, lanes, active, states, block);
    }
    r += safe;
  }
}

}  // namespace

DecoderTable::DecoderTable(const TableCode& code, const std::string& name)
    : code_(code), slots_(expand_slots(code, name)) {
  if (!packable()) return;
  for (const Slot& s : slots_)
    packed_.push_back(uint32_t{s.symbol} << (2 * code_.precision) |
                      uint32_t{s.frequency_minus_1} << code_.precision | s.offset);
}

void decode_tile(WordSpan words, std::span<const DecoderTable* const> table_of, int lanes,
                 int escape_parameter, MatrixView<int32_t> codes, const std::string& name) {
  const int64_t columns = codes.cols();
  BitReader head(words, name);
  uint32_t states[kMaxLanes] = {};
  const auto used = static_cast<int>(std::min<int64_t>(lanes, columns));
  for (int l = 0; l < used; ++l) {
    const auto width = static_cast<int>(head.bits(4)) + 16;
    states[l] = static_cast<uint32_t>((uint64_t{1} << width) + head.bits(width));
  }

  // The escapes stand between the states and the stream, but how many there are is known only after
  // decoding: a tile begins with their number if any of its tables has the symbol.
  const bool may_escape = std::any_of(table_of.begin(), table_of.end(),
                                      [](const DecoderTable* t) { return t->code().escape; });
  std::vector<uint64_t> escapes;
  if (may_escape) {
    const int64_t count = head.number(3, codes.size(), "escapes of a tile");
    for (int64_t i = 0; i < count; ++i) escapes.push_back(head.exp_golomb(escape_parameter));
  }

  Stream stream{words, head.finish()};
  const bool packed = std::all_of(table_of.begin(), table_of.end(),
                                  [](const DecoderTable* t) { return t->packable(); });
  auto escape = escapes.begin();
  for (int64_t first = 0; first < columns; first += lanes) {
    const auto active = static_cast<int>(std::min<int64_t>(lanes, columns - first));
    const auto tables = table_of.subspan(static_cast<size_t>(first), static_cast<size_t>(active));
    Lane lane[kMaxLanes];
    bool one_table = true, pass_may_escape = false;
    for (int l = 0; l < active; ++l) {
      const DecoderTable& t = *tables[static_cast<size_t>(l)];
      lane[l] = {t.packed(), t.slots(), (1U << t.code().precision) - 1, t.code().precision,
                 t.code().base};
      one_table &= &t == tables[0];
      pass_may_escape |= t.code().escape;
    }
    const auto pass = codes.block(0, first, codes.rows(), active);
    if (packed) {
      decode_pass<true>(stream, lane, active, one_table, states, pass, name);
    } else {
      decode_pass<false>(stream, lane, active, one_table, states, pass, name);
    }
    // An escape without a value is an error, so a tile whose list is empty is looked through as
    // well.
    if (!pass_may_escape) continue;
    for (int64_t r = 0; r < pass.rows(); ++r) {
      for (int l = 0; l < active; ++l) {
        const DecoderTable& t = *tables[static_cast<size_t>(l)];
        if (!t.code().escape || pass(r, l) != t.escape_marker()) continue;
        if (escape == escapes.end()) damaged(name, "a tile has more escapes than values for them");
        const auto distance = static_cast<int64_t>(*escape >> 1);
        const int64_t value = (*escape & 1) != 0 ? t.escape_marker() + distance
                                                 : int64_t{t.code().base} - 1 - distance;
        ++escape;
        if (value < INT32_MIN || value > INT32_MAX)
          damaged(name, "an escaped integer goes beyond 32 bits");
        pass(r, l) = static_cast<int32_t>(value);
      }
    }
  }
  if (escape != escapes.end()) damaged(name, "a tile has values for more escapes than it holds");
  if (stream.left() != 0) damaged(name, "a tile has words left over");
  for (int l = 0; l < used; ++l) {
    if (states[l] != kLowerBound) damaged(name, "a lane does not end where its coding began");
  }
}

}  // namespace watersic
