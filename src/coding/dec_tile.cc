#include "coding/dec_tile.h"

#include <algorithm>

#include "coding/common_rans.h"
#include "coding/dec_lanes.h"

namespace watersic {
namespace {

constexpr int64_t kAhead = 8;  // rows

// The decoding of one tile: where its stream stands, and its lanes.
struct Stream {
  WordSpan words;
  size_t next = 0;
  size_t left() const { return words.size() - next; }
};

// One integer: the state goes on, without its renormalisation.
template <bool kPacked>
inline int32_t step(const DecoderTables& tables, const LaneTables& lanes, int l, uint32_t& x) {
  const uint32_t mask = lanes.mask[l], precision = lanes.precision[l];
  const uint32_t slot = lanes.offset[l] + (x & mask);
  if constexpr (kPacked) {
    const uint32_t entry = tables.entries()[slot];
    x = (((entry >> precision) & mask) + 1) * (x >> precision) + (entry & mask);
    return lanes.base[l] + static_cast<int32_t>(entry >> precision >> precision);
  } else {
    const Slot entry = tables.slots()[slot];
    x = (uint32_t{entry.frequency_minus_1} + 1) * (x >> precision) + entry.offset;
    return lanes.base[l] + entry.symbol;
  }
}

// Rows for which the stream is known to hold a word for each integer. The word is read whether it
// is needed or not: a mispredicted branch would cost more than the load.
template <bool kPacked, bool kOneTable>
void decode_rows(Stream& stream, const DecoderTables& tables, const LaneTables& lanes, int active,
                 uint32_t* states, MatrixView<int32_t> codes) {
  size_t next = stream.next;
  const WordSpan words = stream.words;
  for (int64_t r = 0; r < codes.rows(); ++r) {
    int32_t* row = codes.row(r).data();
    // Rows lie far apart in a wide matrix: the hardware does not foresee the next.
    if (r + kAhead < codes.rows()) {
      for (int l = 0; l < active; l += 16) __builtin_prefetch(&codes(r + kAhead, l), 1);
    }
    for (int l = 0; l < active; ++l) {
      uint32_t x = states[l];
      row[l] = step<kPacked>(tables, lanes, kOneTable ? 0 : l, x);
      const uint32_t low = x < kLowerBound ? 1 : 0;
      states[l] = x << (16 * low) | (words[next] & (0 - low));
      next += low;
    }
  }
  stream.next = next;
}

// One row near the end of the stream, with a check before each word.
template <bool kPacked>
void decode_row_checked(Stream& stream, const DecoderTables& tables, const LaneTables& lanes,
                        int active, uint32_t* states, int32_t* row, const std::string& name) {
  for (int l = 0; l < active; ++l) {
    uint32_t x = states[l];
    row[l] = step<kPacked>(tables, lanes, l, x);
    if (x < kLowerBound) {
      if (stream.left() == 0) damaged(name, "a tile's words run out");
      x = x << 16 | stream.words[stream.next++];
    }
    states[l] = x;
  }
}

template <bool kPacked>
void decode_pass(Stream& stream, const DecoderTables& tables, const LaneTables& lanes, int active,
                 bool one_table, uint32_t* states, MatrixView<int32_t> codes,
                 const std::string& name, DecoderKind kind) {
  bool vectors = kPacked && kind == DecoderKind::kBest;
  for (int64_t r = 0; r < codes.rows();) {
    const auto left = static_cast<int64_t>(stream.left());
    if (const int64_t safe = std::min((left - kVectorSlack) / active, codes.rows() - r);
        vectors && safe > 0) {
      const int64_t taken =
          decode_rows_vector(stream.words.data() + 2 * stream.next, tables.entries(), lanes, active,
                             states, codes.row(r).data(), codes.stride(), safe);
      vectors = taken >= 0;
      if (vectors) {
        stream.next += static_cast<size_t>(taken);
        r += safe;
        continue;
      }
    }
    const int64_t safe = std::min(left / active, codes.rows() - r);
    if (safe == 0) {
      decode_row_checked<kPacked>(stream, tables, lanes, active, states, codes.row(r).data(), name);
      ++r;
      continue;
    }
    const auto block = codes.block(r, 0, safe, codes.cols());
    if (one_table) {
      decode_rows<kPacked, true>(stream, tables, lanes, active, states, block);
    } else {
      decode_rows<kPacked, false>(stream, tables, lanes, active, states, block);
    }
    r += safe;
  }
}

// Puts the escapes' values in place of their markers, which no other symbol gives.
class EscapeList {
 public:
  EscapeList(std::vector<uint64_t> values, const std::string& name)
      : values_(std::move(values)), name_(&name) {}

  void patch(const DecoderTables& tables, std::span<const int32_t> table_of,
             MatrixView<int32_t> pass) {
    int32_t marker[kMaxLanes], marked[kMaxLanes];
    for (size_t l = 0; l < table_of.size(); ++l) {
      marked[l] = tables.code(table_of[l]).escape ? 1 : 0;
      marker[l] = marked[l] != 0 ? tables.escape_marker(table_of[l]) : 0;
    }
    for (int64_t r = 0; r < pass.rows(); ++r) {
      int32_t* row = pass.row(r).data();
      int32_t any = 0;  // without branches: nearly all rows have none
      for (size_t l = 0; l < table_of.size(); ++l) any |= (row[l] == marker[l] ? 1 : 0) & marked[l];
      if (any == 0) continue;
      for (size_t l = 0; l < table_of.size(); ++l) {
        if (marked[l] != 0 && row[l] == marker[l])
          row[l] = take(tables.code(table_of[l]), marker[l]);
      }
    }
  }
  void finish() const {
    if (next_ != values_.size())
      damaged(*name_, "a tile has values for more escapes than it holds");
  }

 private:
  int32_t take(const TableCode& code, int32_t marker) {
    if (next_ == values_.size()) damaged(*name_, "a tile has more escapes than values for them");
    const uint64_t v = values_[next_++];
    const auto distance = static_cast<int64_t>(v >> 1);
    const int64_t value = (v & 1) != 0 ? marker + distance : int64_t{code.base} - 1 - distance;
    if (value < INT32_MIN || value > INT32_MAX)
      damaged(*name_, "an escaped integer goes beyond 32 bits");
    return static_cast<int32_t>(value);
  }

  std::vector<uint64_t> values_;
  const std::string* name_;
  size_t next_ = 0;
};

}  // namespace

DecoderTables::DecoderTables(std::vector<TableCode> codes, const std::string& name)
    : codes_(std::move(codes)) {
  for (const TableCode& c : codes_) packed_ &= c.alphabet() <= int64_t{1} << (32 - 2 * c.precision);
  for (const TableCode& c : codes_) {
    const std::vector<Slot> slots = expand_slots(c, name);
    offsets_.push_back(static_cast<uint32_t>(packed_ ? entries_.size() : slots_.size()));
    if (!packed_) {
      slots_.insert(slots_.end(), slots.begin(), slots.end());
      continue;
    }
    for (const Slot& s : slots)
      entries_.push_back(uint32_t{s.symbol} << c.precision << c.precision |
                         uint32_t{s.frequency_minus_1} << c.precision | s.offset);
  }
}

void decode_tile(WordSpan words, const DecoderTables& tables, std::span<const int32_t> table_of,
                 int lanes, int escape_parameter, MatrixView<int32_t> codes,
                 const std::string& name, DecoderKind kind) {
  const int64_t columns = codes.cols();
  BitReader head(words, name);
  alignas(64) uint32_t states[kMaxLanes] = {};
  const auto used = static_cast<int>(std::min<int64_t>(lanes, columns));
  for (int l = 0; l < used; ++l) {
    const auto width = static_cast<int>(head.bits(4)) + 16;
    states[l] = static_cast<uint32_t>((uint64_t{1} << width) + head.bits(width));
  }
  const auto may_escape = [&](std::span<const int32_t> some) {
    return std::ranges::any_of(some, [&](int32_t t) { return tables.code(t).escape; });
  };
  std::vector<uint64_t> values;
  if (may_escape(table_of)) {
    const int64_t count = head.number(3, codes.size(), "escapes of a tile");
    for (int64_t i = 0; i < count; ++i) values.push_back(head.exp_golomb(escape_parameter));
  }
  EscapeList escapes(std::move(values), name);

  Stream stream{words, head.finish()};
  LaneTables lane = {};
  for (int64_t first = 0; first < columns; first += lanes) {
    const auto active = static_cast<int>(std::min<int64_t>(lanes, columns - first));
    const auto own = table_of.subspan(static_cast<size_t>(first), static_cast<size_t>(active));
    for (int l = 0; l < active; ++l) {
      const int32_t t = own[static_cast<size_t>(l)];
      const TableCode& code = tables.code(t);
      lane.offset[l] = tables.offset(t);
      lane.precision[l] = static_cast<uint32_t>(code.precision);
      lane.mask[l] = (1U << code.precision) - 1;
      lane.base[l] = code.base;
    }
    const bool one_table = std::ranges::all_of(own, [&](int32_t t) { return t == own[0]; });
    const auto pass = codes.block(0, first, codes.rows(), active);
    const auto decode = tables.packed() ? decode_pass<true> : decode_pass<false>;
    decode(stream, tables, lane, active, one_table, states, pass, name, kind);
    // While the pass is in the cache. A tile without values is looked through as well: an escape
    // without a value is an error.
    if (may_escape(own)) escapes.patch(tables, own, pass);
  }
  escapes.finish();
  if (stream.left() != 0) damaged(name, "a tile has words left over");
  for (int l = 0; l < used; ++l) {
    if (states[l] != kLowerBound) damaged(name, "a lane does not end where its coding began");
  }
}

}  // namespace watersic
