#include "coding/dec_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "coding/common_rans.h"
#include "coding/common_tiles.h"
#include "coding/dec_bits.h"
#include "coding/dec_tile.h"

namespace watersic {
namespace {

std::vector<uint64_t> read_numbers(BitReader& in, int64_t count) {
  const auto k = static_cast<int>(in.bits(5));
  std::vector<uint64_t> values;  // grows as it is read: the count alone is not believed
  for (int64_t i = 0; i < count; ++i) values.push_back(in.exp_golomb(k));
  return values;
}

// The head of a blob: everything but the scales' halves and the tiles.
struct Head {
  QuantizedTensor tensor;  // without codes, scales sized but not filled
  TileGrid grid;
  int escape_parameter = 0;
  std::vector<TableCode> tables;
  std::vector<int32_t> table_of;  // of each live column
  std::vector<WordSpan> tiles;
  WordSpan halves;
  int64_t coded_bits = 0;
};

struct ScaleHead {
  int64_t count = 0;
  int32_t exponent = 0;
};

ScaleHead read_scale_head(BitReader& in, int64_t each, const std::string& name) {
  const auto kind = in.bits(2);
  if (kind == 0) return {};
  if (kind == 3) damaged(name, "unknown kind of scales");
  const int64_t exponent =
      unzigzag(static_cast<uint64_t>(in.number(4, 1 << 10, "exponent of scales")));
  return {kind == 1 ? 1 : each, static_cast<int32_t>(exponent)};
}

void read_side(BitReader& in, QuantizedTensor& q, const std::string& name) {
  const uint64_t version = in.bits(8);
  if (version != kTensorVersion)
    throw Error(fmt::format("{}: expected version {} of the coded tensor, found {}", name,
                            kTensorVersion, version));
  q.rows = in.number(8, INT32_MAX, "rows");
  q.cols = in.number(8, INT32_MAX, "columns");
  if (q.cols > 0 && q.rows > kMaxWeights / q.cols)
    damaged(name, fmt::format("expected at most 2^32 weights, found {} x {}", q.rows, q.cols));
  const int64_t dead = in.number(0, q.cols, "dead columns");
  if (dead > 0) {
    uint64_t next = 0;
    for (const uint64_t gap : read_numbers(in, dead)) {
      next += gap;
      if (next >= static_cast<uint64_t>(q.cols))
        damaged(name, "a dead column lies outside the matrix");
      q.dead.push_back(static_cast<int32_t>(next++));
    }
  }
  q.groups = in.number(0, INT32_MAX, "groups");
  if (q.groups > 0) {
    if (q.rows > kMaxWeights / q.groups) damaged(name, "too many groups");
    int64_t group = 0;
    for (int64_t i = 0; i < q.live(); ++i) {
      group += unzigzag(in.exp_golomb(0));
      if (group < 0 || group >= q.groups) damaged(name, "a column's group is out of range");
      q.column_group.push_back(static_cast<int32_t>(group));
    }
  }
}

void read_grid(BitReader& in, TileGrid& grid, const std::string& name) {
  grid.lanes = 1 << in.bits(3);
  grid.segment_rows = 1 + in.number(8, grid.rows - 1, "rows of a segment");
  grid.group_columns = 1 + in.number(8, grid.live - 1, "columns of a group");
  if (grid.lanes > kMaxLanes) damaged(name, "too many lanes");
  if (grid.segment_rows > kMaxTileWeights / grid.group_columns)
    damaged(name, fmt::format("expected tiles of at most 2^20 integers, found {} x {}",
                              grid.segment_rows, grid.group_columns));
}

Head read_head(std::span<const std::byte> blob, const std::string& name) {
  if (blob.size() % 2 != 0) damaged(name, "its length is odd");
  const WordSpan words(blob);
  BitReader in(words, name);
  Head head;
  QuantizedTensor& q = head.tensor;
  read_side(in, q, name);
  Scales* const scales[] = {&q.row_scale, &q.column_scale, &q.group_scale};
  const int64_t each[] = {q.rows, q.live(), q.rows * q.groups};
  int64_t counts[3];
  int64_t halves = 0;
  for (int i = 0; i < 3; ++i) {
    const ScaleHead s = read_scale_head(in, each[i], name);
    scales[i]->exponent = s.exponent;
    counts[i] = s.count;
    halves += s.count;
  }
  if ((q.groups == 0) != (counts[2] == 0))
    damaged(name, "groups without scales or scales without groups");

  const int64_t side = in.size();
  std::vector<uint64_t> sizes;
  if (q.rows > 0 && q.live() > 0) {
    head.grid.rows = q.rows;
    head.grid.live = q.live();
    read_grid(in, head.grid, name);
    const int64_t tables = 1 + in.number(0, kMaxTables - 1, "tables");
    head.escape_parameter = static_cast<int>(in.bits(5));
    for (int64_t t = 0; t < tables; ++t) head.tables.push_back(read_table(in, name));
    const int width = std::bit_width(static_cast<uint64_t>(tables - 1));
    for (int64_t i = 0; tables > 1 && i < q.live(); ++i) {
      const auto table = static_cast<int64_t>(in.bits(width));
      if (table >= tables) damaged(name, "a column's table is out of range");
      head.table_of.push_back(static_cast<int32_t>(table));
    }
    sizes = read_numbers(in, head.grid.tiles());
  }
  head.coded_bits = in.size() - side;
  size_t next = in.finish();

  if (static_cast<uint64_t>(halves) > words.size() - next)
    damaged(name, "its scales are cut short");
  for (int i = 0; i < 3; ++i) {
    // Filled now, after the check that they are there.
    scales[i]->half.resize(static_cast<size_t>(counts[i]));
    for (uint16_t& h : scales[i]->half) h = words[next++];
    for (int64_t j = 0; j < counts[i]; ++j) {
      if (!std::isfinite(scales[i]->value(j))) damaged(name, "a scale is not finite");
    }
  }
  for (const uint64_t size : sizes) {
    // Two words at least: a lane's state takes 20 bits. It bounds what the tiles can decode to.
    if (size < 2 || size > words.size() - next) damaged(name, "its tiles are cut short");
    head.tiles.push_back(words.subspan(next, size));
    next += size;
    head.coded_bits += 16 * static_cast<int64_t>(size);
  }
  if (next != words.size()) damaged(name, "it has bytes left over");
  return head;
}

}  // namespace

QuantizedTensor decode_tensor(std::span<const std::byte> blob, ThreadPool& pool,
                              const std::string& name, DecoderKind kind) {
  Head head = read_head(blob, name);
  QuantizedTensor& q = head.tensor;
  const DecoderTables tables(head.tables, name);
  if (head.table_of.empty()) head.table_of.resize(static_cast<size_t>(q.live()), 0);
  // Bounded: each tile of at most 2^20 integers has two words at least.
  q.codes = Matrix<int32_t>(q.rows, q.live());
  pool.parallel_for(head.grid.tiles(), [&](int64_t t) {
    const auto [row, rows, column, columns] = head.grid.tile(t);
    decode_tile(
        head.tiles[static_cast<size_t>(t)], tables,
        std::span(head.table_of).subspan(static_cast<size_t>(column), static_cast<size_t>(columns)),
        head.grid.lanes, head.escape_parameter, q.codes.view().block(row, column, rows, columns),
        name, kind);
  });
  return std::move(q);
}

TensorSummary summarize_tensor(std::span<const std::byte> blob, const std::string& name) {
  const Head head = read_head(blob, name);
  const QuantizedTensor& q = head.tensor;
  TensorSummary s;
  s.rows = q.rows;
  s.cols = q.cols;
  s.dead = static_cast<int64_t>(q.dead.size());
  s.tables = static_cast<int64_t>(head.tables.size());
  s.tiles = head.grid.tiles();
  s.lanes = head.grid.lanes;
  for (const TableCode& t : head.tables) s.precision = std::max(s.precision, t.precision);
  s.segment_rows = head.grid.segment_rows;
  s.group_columns = head.grid.group_columns;
  s.bits.coded = static_cast<double>(head.coded_bits);
  s.bits.side = 8.0 * static_cast<double>(blob.size()) - s.bits.coded;
  return s;
}

}  // namespace watersic
