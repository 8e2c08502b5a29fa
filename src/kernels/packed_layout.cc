#include "kernels/packed_layout.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <functional>
#include <tuple>

namespace watersic {
namespace {

constexpr int64_t kExceptionBits = 8 * sizeof(TileException);

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
  if (c.least > c.most || (c.least == 0 && c.most == 0)) return {};
  int64_t count = 0;
  for (const uint32_t needs : c.needs) count += needs;
  // All of them, from the least on, if sums of products with it fit into 32 bits; as far as digits
  // go.
  const auto span = static_cast<uint64_t>(int64_t{c.most} - c.least);
  constexpr int kMostWidth = 3 * kMaxPlaneWidth;
  constexpr int32_t kMostBase = 1024;
  Range best{.width = std::max(1, static_cast<int>(std::bit_width(span))), .base = c.least};
  const bool fits = best.width <= kMaxPlaneWidth && std::abs(int64_t{best.base}) <= kMostBase;
  int64_t cost = fits ? best.width * count : INT64_MAX;
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
  assert(inputs <= int64_t{TileException::kMostColumns});
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
  exceptions_.resize(static_cast<size_t>(M_.tiles()));
}

void PackedWriter::place_columns(std::span<const PackedColumn> columns) {
  // All digits, in runs of one group and one width, wide columns apart.
  struct Entry {
    int group;
    bool wide;
    int width, shift;
    size_t column;
    auto run() const { return std::tuple(group, wide, width); }
  };
  std::vector<Entry> entries;
  for (size_t i = 0; i < columns.size(); ++i) {
    const PackedColumn& column = columns[i];
    if (column.range.width == 0) continue;
    int shift = 0;
    for (const int width : digit_widths(column.range.width)) {
      entries.push_back({.group = column.group,
                         .wide = column.range.width >= kWideWidth,
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
    M_.blocks.push_back({.width = first.width,
                         .group = first.group,
                         .quads = quads,
                         .wide = first.wide,
                         .offset = M_.tile_bytes,
                         .column = static_cast<int64_t>(M_.source.size()),
                         .input = M_.input_bytes});
    const PackedBlock& block = M_.blocks.back();
    M_.input_bytes += block.input_bytes();
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
  // Tile by tile, so that a tile's rows are in the cache for all columns.
  std::vector<TileException> exceptions;
  for (int64_t r = 0; r < integers.rows();) {
    const int64_t count = std::min(kTileRows - (row + r) % kTileRows, integers.rows() - r);
    const auto rows = integers.block(r, 0, count, integers.cols());
    for (int64_t i = 0; i < integers.cols(); ++i)
      write_column(row + r, column + i, rows, i, exceptions);
    if (!exceptions.empty()) {
      const std::scoped_lock lock(mutex_);
      auto& tile = exceptions_[static_cast<size_t>((row + r) / kTileRows)];
      tile.insert(tile.end(), exceptions.begin(), exceptions.end());
      exceptions.clear();
    }
    r += count;
  }
}

// Of one tile.
void PackedWriter::write_column(int64_t row, int64_t column, MatrixView<const int32_t> integers,
                                int64_t at, std::vector<TileException>& exceptions) {
  const PackedColumn& c = columns_[static_cast<size_t>(column)];
  std::array<uint32_t, kTileRows> values{};
  const int64_t first = row % kTileRows;
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
        exceptions.emplace_back(first + r, c.input, static_cast<float>(wanted - held));
    }
  }
  const bool shared = integers.rows() < std::min(kTileRows, M_.rows - (row - first));
  const auto tile = M_.data.span().subspan(static_cast<size_t>(row / kTileRows * M_.tile_bytes),
                                           static_cast<size_t>(M_.tile_bytes));
  for (const Digit& digit : digits_[static_cast<size_t>(column)])
    set_packed_column(tile.subspan(static_cast<size_t>(digit.offset)), digit.width, digit.lane,
                      values, digit.shift, shared);
}

PackedMatrix PackedWriter::take() {
  M_.exception_begin = {0};
  for (const auto& tile : exceptions_)
    M_.exception_begin.push_back(M_.exception_begin.back() + static_cast<int64_t>(tile.size()));
  M_.exceptions.reserve(static_cast<size_t>(M_.exception_begin.back()));
  for (auto& tile : exceptions_) {
    std::ranges::sort(tile, std::less<>());
    M_.exceptions.insert(M_.exceptions.end(), tile.begin(), tile.end());
    tile = {};
  }
  return std::move(M_);
}

}  // namespace watersic
