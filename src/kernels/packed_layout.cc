#include "kernels/packed_layout.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <tuple>

namespace watersic {
namespace {

constexpr int64_t kExceptionBits = 8 * sizeof(PackedException);

// Of two's complement, less one: 0 for -1 and 0, 1 for -2 and 1, ...
int needed_bits(int32_t m) { return std::bit_width(static_cast<uint32_t>(m < 0 ? ~m : m)); }

// Widths of the digits that a column of a width is held in, lowest first.
std::vector<int> digit_widths(int width) {
  std::vector<int> widths;
  // Nibbles unpack fastest; a top digit of one bit would be a waste of multiplications.
  while (width > kMaxPlaneWidth) {
    widths.push_back(width > 4 + kMaxPlaneWidth ? kMaxPlaneWidth : 4);
    width -= widths.back();
  }
  widths.push_back(width);
  return widths;
}

}  // namespace

IntegerCounts::IntegerCounts(int64_t columns) : columns_(static_cast<size_t>(columns)) {}

void IntegerCounts::add(int64_t column, MatrixView<const int32_t> integers) {
  std::vector<Column> mine(static_cast<size_t>(integers.cols()));
  // Widths need no more than a sample: what lies outside of them is an exception.
  constexpr int64_t kSample = 256;
  const int64_t step = std::max<int64_t>(1, integers.rows() / kSample);
  for (int64_t r = 0; r < integers.rows(); r += step) {
    const auto row = integers.row(r);
    for (size_t i = 0; i < mine.size(); ++i) {
      const int32_t m = row[i];
      ++mine[i].needs[static_cast<size_t>(needed_bits(m))];
      mine[i].least = std::min(mine[i].least, m);
      mine[i].most = std::max(mine[i].most, m);
    }
  }
  const std::scoped_lock lock(mutex_);
  for (size_t i = 0; i < mine.size(); ++i) {
    Column& all = columns_[static_cast<size_t>(column) + i];
    for (size_t b = 0; b < kBins; ++b) all.needs[b] += mine[i].needs[b];
    all.least = std::min(all.least, mine[i].least);
    all.most = std::max(all.most, mine[i].most);
  }
}

IntegerCounts::Range IntegerCounts::best_range(int64_t column) const {
  const Column& c = columns_[static_cast<size_t>(column)];
  if (c.least > c.most) return {};
  int64_t count = 0;
  for (const uint32_t needs : c.needs) count += needs;
  // All of them, from the least on; as far as digits go.
  const auto span = static_cast<uint64_t>(int64_t{c.most} - c.least);
  constexpr int kMostWidth = 3 * kMaxPlaneWidth;
  Range best{.width = std::max(1, static_cast<int>(std::bit_width(span))), .base = c.least};
  int64_t cost = best.width <= kMaxPlaneWidth ? best.width * count : INT64_MAX;
  int64_t outside = count;
  for (int width = 1; width <= kMostWidth; ++width) {
    outside -= c.needs[static_cast<size_t>(width - 1)];
    if (const int64_t bits = width * count + kExceptionBits * outside; bits < cost) {
      cost = bits;
      best = {.width = width, .base = -(1 << (width - 1))};
    }
  }
  return best;
}

PackedWriter::PackedWriter(int64_t rows, int64_t inputs, int64_t groups,
                           std::span<const PackedColumn> columns)
    : columns_(columns.begin(), columns.end()), digits_(columns.size()) {
  M_.rows = rows;
  M_.inputs = inputs;
  M_.groups = groups;
  M_.column_scale.resize(static_cast<size_t>(inputs));
  if (groups > 0) M_.column_group.resize(static_cast<size_t>(inputs));
  for (const PackedColumn& column : columns) {
    M_.column_scale[static_cast<size_t>(column.input)] = column.scale;
    if (groups > 0) M_.column_group[static_cast<size_t>(column.input)] = column.group;
  }
  place_columns(columns);
  M_.data = AlignedBytes(M_.tiles() * M_.tile_bytes);
}

void PackedWriter::place_columns(std::span<const PackedColumn> columns) {
  // All digits, in runs of one group, one number of parts and one width.
  struct Entry {
    int group, parts, width, shift;
    size_t column;
    auto run() const { return std::tuple(group, parts, width); }
  };
  std::vector<Entry> entries;
  for (size_t i = 0; i < columns.size(); ++i) {
    const PackedColumn& column = columns[i];
    if (column.range.width == 0) continue;
    int shift = 0;
    for (const int width : digit_widths(column.range.width)) {
      entries.push_back({.group = column.group,
                         .parts = column.range.width >= kTwoPartWidth ? 2 : 1,
                         .width = width,
                         .shift = shift,
                         .column = i});
      shift += width;
    }
  }
  std::ranges::stable_sort(entries, {}, [](const Entry& e) { return e.run(); });

  constexpr size_t kBlockColumns = 4 * kBlockQuads;
  for (size_t begin = 0, end = 0; begin < entries.size(); begin = end) {
    const Entry& first = entries[begin];
    while (end < entries.size() && end - begin < kBlockColumns && entries[end].run() == first.run())
      ++end;
    const auto quads = static_cast<int32_t>((end - begin + 3) / 4);
    PackedBlock block{.width = first.width,
                      .group = first.group,
                      .quads = quads,
                      .limit = first.parts > 1 ? 63 : 127,
                      .offset = M_.tile_bytes,
                      .column = static_cast<int64_t>(M_.source.size())};
    for (block.part = 0; block.part < first.parts; ++block.part) {
      block.input = M_.quantized_inputs;
      M_.quantized_inputs += 4 * int64_t{quads};
      M_.blocks.push_back(block);
    }
    for (size_t i = begin; i < begin + 4 * static_cast<size_t>(quads); ++i) {
      if (i >= end) {  // fills up the quad
        M_.source.push_back(0);
        M_.scale.push_back(0);
        M_.base.push_back(0);
        M_.shift.push_back(0);
        continue;
      }
      const Entry& e = entries[i];
      const PackedColumn& column = columns[e.column];
      M_.source.push_back(column.input);
      M_.scale.push_back(column.scale * static_cast<float>(1 << e.shift));
      // All of the base goes to the top digit, of whose unit it is a multiple.
      const bool top = e.shift + e.width == column.range.width;
      M_.base.push_back(top ? column.range.base / (1 << e.shift) : 0);
      M_.shift.push_back(static_cast<uint8_t>(e.shift));
      const auto at = static_cast<int64_t>(i - begin);
      digits_[e.column].push_back({.width = e.width,
                                   .shift = e.shift,
                                   .offset = block.offset + at / 4 * quad_bytes(e.width),
                                   .lane = at % 4});
    }
    M_.tile_bytes += quads * quad_bytes(first.width);
  }
}

void PackedWriter::write(int64_t row, int64_t column, MatrixView<const int32_t> integers) {
  std::vector<PackedException> exceptions;
  // Tile by tile, so that a tile's rows are in the cache for all columns.
  for (int64_t r = 0; r < integers.rows();) {
    const int64_t count = std::min(kPackedRows - (row + r) % kPackedRows, integers.rows() - r);
    const auto rows = integers.block(r, 0, count, integers.cols());
    for (int64_t i = 0; i < integers.cols(); ++i)
      write_column(row + r, column + i, rows, i, exceptions);
    r += count;
  }
  if (exceptions.empty()) return;
  const std::scoped_lock lock(mutex_);
  M_.exceptions.insert(M_.exceptions.end(), exceptions.begin(), exceptions.end());
}

// Of one tile.
void PackedWriter::write_column(int64_t row, int64_t column, MatrixView<const int32_t> integers,
                                int64_t at, std::vector<PackedException>& exceptions) {
  const PackedColumn& c = columns_[static_cast<size_t>(column)];
  std::array<uint32_t, kPackedRows> values{};
  const int64_t first = row % kPackedRows;
  const uint32_t mask = (1U << c.range.width) - 1, base = static_cast<uint32_t>(c.range.base);
  uint32_t outside = 0;
  for (int64_t r = 0; r < integers.rows(); ++r) {
    const uint32_t value = static_cast<uint32_t>(integers(r, at)) - base;
    values[static_cast<size_t>(first + r)] = value;
    outside |= value & ~mask;
  }
  if (outside != 0) {
    for (int64_t r = 0; r < integers.rows(); ++r) {
      const int64_t wanted = int64_t{integers(r, at)} - c.range.base;
      const int64_t held = std::clamp<int64_t>(wanted, 0, mask);
      values[static_cast<size_t>(first + r)] = static_cast<uint32_t>(held);
      if (held != wanted)
        exceptions.push_back({.row = static_cast<int32_t>(row + r),
                              .column = c.input,
                              .value = static_cast<float>(wanted - held)});
    }
  }
  const bool shared = integers.rows() < std::min(kPackedRows, M_.rows - (row - first));
  const auto tile = M_.data.span().subspan(static_cast<size_t>(row / kPackedRows * M_.tile_bytes),
                                           static_cast<size_t>(M_.tile_bytes));
  for (const Digit& digit : digits_[static_cast<size_t>(column)])
    set_packed_column(tile.subspan(static_cast<size_t>(digit.offset)), digit.width, digit.lane,
                      values, digit.shift, shared);
}

PackedMatrix PackedWriter::take() {
  std::ranges::sort(M_.exceptions, {},
                    [](const PackedException& e) { return std::tuple(e.row, e.column); });
  for (int64_t t = 0; t <= M_.tiles(); ++t) {
    const auto begin = std::ranges::lower_bound(M_.exceptions, t * kPackedRows, {},
                                                [](const PackedException& e) { return e.row; });
    M_.exception_begin.push_back(begin - M_.exceptions.begin());
  }
  M_.exceptions.shrink_to_fit();
  return std::move(M_);
}

}  // namespace watersic
