#include "coding/enc_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <memory>

#include "coding/common_rans.h"
#include "coding/common_tiles.h"
#include "coding/enc_bits.h"
#include "coding/enc_tile.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A lane's state costs about 28 bits, of which 8 carry information.
constexpr double kBitsPerLane = 20;
constexpr double kLaneBudget = 0.0025;  // bits a weight, at most, for small layers
constexpr int kFullLanes = 32;
constexpr int64_t kSegmentRows = 1024, kGroupColumns = 1024;

// Equal parts of about `wanted`.
int64_t even_part(int64_t n, int64_t wanted) {
  const int64_t parts = std::max<int64_t>(1, (n + wanted / 2) / wanted);
  return std::max<int64_t>(1, (n + parts - 1) / parts);
}

TileGrid choose_grid(int64_t rows, int64_t live, const CodingPlan& plan) {
  TileGrid grid;
  grid.rows = rows;
  grid.live = live;
  if (rows == 0 || live == 0) return grid;
  grid.lanes = plan.lanes;
  if (plan.lanes == 0) {
    const double affordable =
        kLaneBudget * static_cast<double>(rows) * static_cast<double>(live) / kBitsPerLane;
    const auto most = static_cast<uint64_t>(
        std::clamp<double>(std::min(affordable, static_cast<double>(live)), 1, kFullLanes));
    grid.lanes = static_cast<int>(std::bit_floor(most));
  }
  grid.group_columns = plan.group_columns;
  if (plan.group_columns == 0) {
    const int64_t columns = even_part(live, kGroupColumns);
    grid.group_columns = std::min((columns + grid.lanes - 1) / grid.lanes * grid.lanes, live);
  }
  grid.segment_rows = plan.segment_rows;
  if (plan.segment_rows == 0) {
    // Few columns make room for longer segments, and few rows would make tiles too small otherwise.
    const int64_t room = kMaxTileWeights / grid.group_columns;
    grid.segment_rows = even_part(rows, std::max(kSegmentRows, room / 2));
    if (grid.segment_rows > room)
      grid.segment_rows = even_part(rows, std::max<int64_t>(1, room / 2));
  }
  grid.group_columns = std::min(grid.group_columns, live);
  grid.segment_rows = std::min(grid.segment_rows, rows);
  assert(grid.segment_rows * grid.group_columns <= kMaxTileWeights);
  return grid;
}

template <class Writer>
void write_grid(Writer& out, const TileGrid& grid) {
  out.bits(static_cast<uint64_t>(std::countr_zero(static_cast<uint32_t>(grid.lanes))), 3);
  out.exp_golomb(static_cast<uint64_t>(grid.segment_rows - 1), 8);
  out.exp_golomb(static_cast<uint64_t>(grid.group_columns - 1), 8);
}

// The Exp-Golomb parameter that codes `values` in the fewest bits.
int cheapest_parameter(const std::vector<uint64_t>& values, int parameters) {
  int best = 0;
  int64_t best_bits = -1;
  for (int k = 0; k < parameters; ++k) {
    int64_t bits = 0;
    for (const uint64_t v : values) bits += exp_golomb_bits(v, k);
    if (best_bits < 0 || bits < best_bits) {
      best = k;
      best_bits = bits;
    }
  }
  return best;
}

void write_numbers(BitWriter& out, const std::vector<uint64_t>& values) {
  const int k = cheapest_parameter(values, 32);
  out.bits(static_cast<uint64_t>(k), 5);
  for (const uint64_t v : values) out.exp_golomb(v, k);
}

// How many halves: none, one for all, or one for each.
void write_scale_head(BitWriter& out, const Scales& scales, int64_t each, const char* what) {
  const auto n = static_cast<int64_t>(scales.half.size());
  assert(n == 0 || n == 1 || n == each);
  static_cast<void>(each);
  out.bits(n == 0 ? 0 : n == 1 ? 1 : 2, 2);
  if (n == 0) return;
  out.exp_golomb(zigzag(scales.exponent), 4);
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(scales.value(i)))
      throw Error(
          fmt::format("{}: expected finite numbers, found {} at {}", what, scales.value(i), i));
  }
}

void write_side(BitWriter& out, const QuantizedTensor& q) {
  out.bits(kTensorVersion, 8);
  out.exp_golomb(static_cast<uint64_t>(q.rows), 8);
  out.exp_golomb(static_cast<uint64_t>(q.cols), 8);
  out.exp_golomb(q.dead.size(), 0);
  if (!q.dead.empty()) {
    std::vector<uint64_t> gaps;
    int64_t next = 0;
    for (const int32_t d : q.dead) {
      assert(d >= next && d < q.cols);
      gaps.push_back(static_cast<uint64_t>(d - next));
      next = int64_t{d} + 1;
    }
    write_numbers(out, gaps);
  }
  out.exp_golomb(static_cast<uint64_t>(q.groups), 0);
  int64_t last = 0;
  assert(q.groups == 0 || static_cast<int64_t>(q.column_group.size()) == q.live());
  if (q.groups > 0) {
    for (const int32_t g : q.column_group) {
      assert(g >= 0 && g < q.groups);
      out.exp_golomb(zigzag(g - last), 0);
      last = g;
    }
  }
  write_scale_head(out, q.row_scale, q.rows, "row scales");
  write_scale_head(out, q.column_scale, q.live(), "column scales");
  write_scale_head(out, q.group_scale, q.rows * q.groups, "group scales");
}

int bits_for(int64_t n) { return std::bit_width(static_cast<uint64_t>(n - 1)); }

int escape_parameter(const std::vector<FittedTable>& tables) {
  std::vector<int64_t> bits(kEscapeParameters, 0);
  for (const FittedTable& t : tables)
    for (size_t k = 0; k < bits.size(); ++k) bits[k] += t.escape_bits[k];
  return static_cast<int>(std::min_element(bits.begin(), bits.end()) - bits.begin());
}

std::vector<FittedTable> fit_tables(const QuantizedTensor& q, const CodingPlan& plan,
                                    const TileGrid& grid, ThreadPool& pool) {
  std::vector<std::vector<int64_t>> columns(static_cast<size_t>(plan.tables));
  for (size_t i = 0; i < plan.table_of.size(); ++i)
    columns[static_cast<size_t>(plan.table_of[i])].push_back(static_cast<int64_t>(i));
  const int64_t segments = grid.segments();
  std::vector<Histogram> parts(static_cast<size_t>(plan.tables * segments));
  pool.parallel_for(plan.tables * segments, [&](int64_t i) {
    const int64_t t = i / segments, row = i % segments * grid.segment_rows;
    const auto view =
        q.codes.view().block(row, 0, std::min(grid.segment_rows, q.rows - row), q.codes.cols());
    parts[static_cast<size_t>(i)] =
        histogram_of(view, plan.table_of.empty() ? nullptr : &columns[static_cast<size_t>(t)]);
  });
  std::vector<FittedTable> tables(static_cast<size_t>(plan.tables));
  pool.parallel_for(plan.tables, [&](int64_t t) {
    Histogram h;
    for (int64_t s = 0; s < segments; ++s) h.add(parts[static_cast<size_t>(t * segments + s)]);
    tables[static_cast<size_t>(t)] = fit_table(h);
  });
  return tables;
}

void append(std::vector<std::byte>& bytes, const std::vector<uint16_t>& words) {
  for (const uint16_t w : words) {
    bytes.push_back(static_cast<std::byte>(w & 0xFF));
    bytes.push_back(static_cast<std::byte>(w >> 8));
  }
}

}  // namespace

std::vector<std::byte> encode_tensor(const QuantizedTensor& tensor, ThreadPool& pool) {
  return encode_tensor(tensor, CodingPlan{}, pool);
}

std::vector<std::byte> encode_tensor(const QuantizedTensor& q, const CodingPlan& plan,
                                     ThreadPool& pool) {
  assert(q.codes.rows() == q.rows && q.codes.cols() == q.live());
  assert(plan.tables >= 1 && plan.tables <= kMaxTables &&
         (plan.tables == 1 || !plan.table_of.empty()));
  if (q.rows > INT32_MAX || q.cols > INT32_MAX || (q.cols > 0 && q.rows > kMaxWeights / q.cols))
    throw Error(
        fmt::format("expected a matrix of at most 2^32 weights, found {} x {}", q.rows, q.cols));
  BitWriter head;
  write_side(head, q);

  std::vector<std::vector<uint16_t>> tiles;
  if (!q.codes.empty()) {
    const TileGrid grid = choose_grid(q.rows, q.live(), plan);
    const std::vector<FittedTable> fitted = fit_tables(q, plan, grid, pool);
    const std::vector<EncoderTable> tables(fitted.begin(), fitted.end());
    const int escape = escape_parameter(fitted);
    std::vector<const EncoderTable*> table_of;
    for (int64_t i = 0; i < q.live(); ++i)
      table_of.push_back(&tables[plan.table_of.empty()
                                     ? 0
                                     : static_cast<size_t>(plan.table_of[static_cast<size_t>(i)])]);
    tiles.resize(static_cast<size_t>(grid.tiles()));
    pool.parallel_for(grid.tiles(), [&](int64_t t) {
      const auto [row, rows, column, columns] = grid.tile(t);
      tiles[static_cast<size_t>(t)] = encode_tile(
          q.codes.view().block(row, column, rows, columns),
          std::span(table_of).subspan(static_cast<size_t>(column), static_cast<size_t>(columns)),
          grid.lanes, escape);
    });

    write_grid(head, grid);
    head.exp_golomb(static_cast<uint64_t>(plan.tables - 1), 0);
    head.bits(static_cast<uint64_t>(escape), 5);
    for (const FittedTable& t : fitted) write_table(head, t.code);
    for (const int32_t t : plan.table_of)
      head.bits(static_cast<uint64_t>(t), bits_for(plan.tables));
    std::vector<uint64_t> sizes;
    sizes.reserve(tiles.size());
    for (const auto& t : tiles) sizes.push_back(t.size());
    write_numbers(head, sizes);
  }

  std::vector<std::byte> bytes;
  size_t words = 0;
  for (const auto& t : tiles) words += t.size();
  bytes.reserve(2 * words + static_cast<size_t>(head.size() / 8) + 64);
  append(bytes, head.finish());
  for (const Scales* s : {&q.row_scale, &q.column_scale, &q.group_scale}) append(bytes, s->half);
  for (const auto& t : tiles) append(bytes, t);
  return bytes;
}

double estimate_coded_bits(const Matrix<int32_t>& codes) {
  if (codes.empty()) return 0;
  const TileGrid grid = choose_grid(codes.rows(), codes.cols(), CodingPlan{});
  const FittedTable table = fit_table(histogram_of(codes));
  BitCounter head;
  write_grid(head, grid);
  double lanes = 0;
  for (int64_t t = 0; t < grid.tiles(); ++t) lanes += grid.active_lanes(grid.tile(t));
  // A tile ends on a whole word, and its length stands in the header.
  return table.payload_bits +
         static_cast<double>(table.table_bits() + head.size() +
                             table.escape_bits[static_cast<size_t>(escape_parameter({table}))]) +
         lanes * kBitsPerLane + static_cast<double>(grid.tiles()) * (8 + 20);
}

double pooled_entropy(const Matrix<int32_t>& codes) {
  return codes.empty() ? 0 : histogram_of(codes).entropy_bits() / static_cast<double>(codes.size());
}

}  // namespace watersic
