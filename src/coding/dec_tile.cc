#include "coding/dec_tile.h"

#include <algorithm>

#include "base/trellis.h"
#include "coding/common_rans.h"

namespace watersic {
namespace {

constexpr int64_t kAhead = 8;  // rows
// Decoded before they are looked through for escapes: they are in the cache still.
constexpr int64_t kChunkRows = 64;
// Added to a row's index: a zero row, whatever the column.
constexpr int32_t kZeroRow = -(1 << 20);

// The decoding of one tile: where its stream stands.
struct Stream {
  WordSpan words;
  size_t next = 0;
  size_t left() const { return words.size() - next; }
};

// One integer of lane l in row r: the state goes on, without its renormalisation.
template <bool kPacked>
inline int32_t step(const DecoderTables& tables, Lanes& lanes, int l, int64_t r, uint32_t& x) {
  const int precision = lanes.precision;
  const uint32_t mask = (1U << precision) - 1;
  uint32_t slot = x & mask;
  if (lanes.row != nullptr) {
    const int32_t c = std::max(0, std::min(lanes.column[l] + lanes.row[r], lanes.top[l]));
    slot += static_cast<uint32_t>(c) << lanes.class_shift;
  } else {
    slot += lanes.offset[l];
  }
  uint32_t q = 0;
  if (lanes.trellis) {
    q = lanes.path[l] & 1;
    slot += q << precision;
  }
  int32_t value = 0;
  if constexpr (kPacked) {
    const uint32_t entry = tables.entries()[slot];
    x = (((entry >> precision) & mask) + 1) * (x >> precision) + (entry & mask);
    value = lanes.base + static_cast<int32_t>(entry >> precision >> precision);
  } else {
    const Slot& entry = tables.slots()[slot];
    x = (uint32_t{entry.frequency_minus_1} + 1) * (x >> precision) + entry.offset;
    value = entry.value;
  }
  if (!lanes.trellis) return value;
  const uint32_t odd = static_cast<uint32_t>(value) & 1;
  lanes.path[l] = (lanes.path[l] >> 1) ^ ((0 - q) & lanes.g0) ^ ((0 - odd) & lanes.g1);
  return 2 * value + static_cast<int32_t>(q);
}

// Rows for which the stream is known to hold a word for each integer. The word is read whether it
// is needed or not: a mispredicted branch would cost more than the load.
template <bool kPacked>
void decode_rows(Stream& stream, const DecoderTables& tables, Lanes& lanes, int64_t first,
                 MatrixView<int32_t> codes) {
  size_t next = stream.next;
  const WordSpan words = stream.words;
  for (int64_t r = 0; r < codes.rows(); ++r) {
    int32_t* row = codes.row(r).data();
    // Rows lie far apart in a wide matrix: the hardware does not foresee the next.
    if (r + kAhead < codes.rows()) {
      for (int l = 0; l < lanes.active; l += 16) __builtin_prefetch(&codes(r + kAhead, l), 1);
    }
    for (int l = 0; l < lanes.active; ++l) {
      uint32_t x = lanes.states[l];
      row[l] = step<kPacked>(tables, lanes, l, first + r, x);
      const uint32_t low = x < kLowerBound ? 1 : 0;
      lanes.states[l] = x << (16 * low) | (words[next] & (0 - low));
      next += low;
    }
  }
  stream.next = next;
}

// The same in vectors; false where that is not possible.
bool decode_rows_vector(Stream& stream, const DecoderTables& tables, Lanes& lanes, int64_t first,
                        MatrixView<int32_t> codes) {
  const int64_t taken =
      decode_rows_vector(stream.words.data() + 2 * stream.next, tables.entries(), lanes,
                         codes.data(), codes.stride(), first, codes.rows());
  if (taken < 0) return false;
  stream.next += static_cast<size_t>(taken);
  return true;
}

// One row near the end of the stream, with a check before each word.
template <bool kPacked>
void decode_row_checked(Stream& stream, const DecoderTables& tables, Lanes& lanes, int64_t r,
                        int32_t* row, const std::string& name) {
  for (int l = 0; l < lanes.active; ++l) {
    uint32_t x = lanes.states[l];
    row[l] = step<kPacked>(tables, lanes, l, r, x);
    if (x < kLowerBound) {
      if (stream.left() == 0) damaged(name, "a tile's words run out");
      x = x << 16 | stream.words[stream.next++];
    }
    lanes.states[l] = x;
  }
}

template <bool kPacked>
void decode_pass(Stream& stream, const DecoderTables& tables, Lanes& lanes, int64_t first,
                 MatrixView<int32_t> codes, const std::string& name, DecoderKind kind) {
  bool vectors = kPacked && kind == DecoderKind::kBest;
  for (int64_t r = 0; r < codes.rows();) {
    const auto left = static_cast<int64_t>(stream.left());
    const int64_t safe = std::min(left / lanes.active, codes.rows() - r);
    const auto rows = codes.block(r, 0, std::max<int64_t>(safe, 1), codes.cols());
    if (safe == 0) {
      decode_row_checked<kPacked>(stream, tables, lanes, first + r, rows.data(), name);
    } else if (!vectors || !decode_rows_vector(stream, tables, lanes, first + r, rows)) {
      vectors = false;
      decode_rows<kPacked>(stream, tables, lanes, first + r, rows);
    }
    r += rows.rows();
  }
}

// Puts the escapes' values in place of their markers, which no symbol gives.
class EscapeList {
 public:
  EscapeList(std::vector<uint64_t> values, const DecoderTables& tables, bool trellis,
             const std::string& name)
      : values_(std::move(values)), tables_(tables), trellis_(trellis), name_(name) {}

  // `pass`: at (row, column) of the matrix.
  void patch(MatrixView<int32_t> pass, int64_t row, int64_t column) {
    const int32_t marker = trellis_ ? 2 * tables_.marker() : tables_.marker();
    for (int64_t r = 0; r < pass.rows(); ++r) {
      int32_t* codes = pass.row(r).data();
      int32_t any = 0;  // without branches: nearly all rows have none
      for (int64_t l = 0; l < pass.cols(); ++l) any |= codes[l] >= marker ? 1 : 0;
      if (any == 0) continue;
      for (int64_t l = 0; l < pass.cols(); ++l) {
        if (codes[l] >= marker) codes[l] = take(codes[l], row + r, column + l);
      }
    }
  }
  void finish() const {
    if (next_ != values_.size()) damaged(name_, "a tile has values for more escapes than it holds");
  }

 private:
  int32_t take(int32_t marked, int64_t row, int64_t column) {
    if (next_ == values_.size()) damaged(name_, "a tile has more escapes than values for them");
    const int q = trellis_ ? marked & 1 : 0;
    const bool odd = ((trellis_ ? marked >> 1 : marked) & 1) != 0;
    const int c = tables_.classes().at(row, column);
    const SymbolTable& table = tables_.head().table(c, q);
    int64_t value = escape_value(table, odd, values_[next_++]);
    if (trellis_) value = 2 * value + q;
    if (value < INT32_MIN || value > INT32_MAX)
      damaged(name_, "an escaped integer goes beyond 32 bits");
    return static_cast<int32_t>(value);
  }

  std::vector<uint64_t> values_;
  const DecoderTables& tables_;
  bool trellis_;
  const std::string& name_;
  size_t next_ = 0;
};

// The indices of the tile's rows as the lanes add them.
std::vector<int32_t> row_terms(const Classes& classes, const TileGrid::Tile& tile) {
  std::vector<int32_t> terms;
  if (classes.kind != Classes::kRows) return terms;
  for (int64_t r = tile.row; r < tile.row + tile.rows; ++r) {
    const int32_t v = classes.row[static_cast<size_t>(r)];
    terms.push_back(v == 0 ? kZeroRow : v);
  }
  return terms;
}

void set_classes(Lanes& lanes, const DecoderTables& tables, int64_t column) {
  const Classes& classes = tables.classes();
  for (int l = 0; l < lanes.active; ++l) {
    const int32_t u = classes.column.empty() ? 1 : classes.column[static_cast<size_t>(column + l)];
    lanes.offset[l] = tables.offset(classes.of(u, 1));
    lanes.column[l] = u - 1;
    lanes.top[l] = u == 0 ? 0 : classes.count - 1;
  }
}

}  // namespace

void decode_tile(WordSpan words, const DecoderTables& tables, const TileGrid::Tile& tile, int lanes,
                 int trellis, MatrixView<int32_t> codes, const std::string& name,
                 DecoderKind kind) {
  BitReader head(words, name);
  Lanes lane;
  const auto used = static_cast<int>(std::min<int64_t>(lanes, tile.columns));
  for (int l = 0; l < used; ++l) lane.states[l] = head.state();
  std::vector<uint64_t> values;
  if (tables.head().escape) {
    const int64_t count = head.number(3, codes.size(), "escapes of a tile");
    for (int64_t i = 0; i < count; ++i)
      values.push_back(head.exp_golomb(tables.head().escape_parameter));
  }
  EscapeList escapes(std::move(values), tables, trellis > 0, name);

  Stream stream{words, head.finish()};
  const std::vector<int32_t> rows = row_terms(tables.classes(), tile);
  lane.row = rows.empty() ? nullptr : rows.data();
  lane.precision = tables.precision();
  lane.class_shift = tables.precision() + (tables.qs() == 2 ? 1 : 0);
  lane.base = tables.base();
  lane.trellis = trellis > 0;
  if (lane.trellis) {
    lane.g0 = static_cast<uint32_t>(Trellis::of(trellis).h0) >> 1;
    lane.g1 = static_cast<uint32_t>(Trellis::of(trellis).h1) >> 1;
  }
  for (int64_t first = 0; first < tile.columns; first += lanes) {
    lane.active = static_cast<int>(std::min<int64_t>(lanes, tile.columns - first));
    set_classes(lane, tables, tile.column + first);
    std::fill(std::begin(lane.path), std::end(lane.path), 0);
    const auto decode = tables.packed() ? decode_pass<true> : decode_pass<false>;
    for (int64_t row = 0; row < tile.rows; row += kChunkRows) {
      const auto chunk =
          codes.block(row, first, std::min(kChunkRows, tile.rows - row), lane.active);
      decode(stream, tables, lane, row, chunk, name, kind);
      // A tile without values is looked through as well: an escape without a value is an error.
      if (tables.head().escape) escapes.patch(chunk, tile.row + row, tile.column + first);
    }
  }
  escapes.finish();
  if (stream.left() != 0) damaged(name, "a tile has words left over");
  for (int l = 0; l < used; ++l) {
    if (lane.states[l] != kLowerBound) damaged(name, "a lane does not end where its coding began");
  }
}

}  // namespace watersic
