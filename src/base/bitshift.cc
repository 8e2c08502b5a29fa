#include "base/bitshift.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "base/memory.h"

namespace watersic {
namespace {

constexpr int64_t kAlignment = 32;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// The history and the chunk, one after the other, and zeros.
using Bytes = std::array<uint8_t, 2 + chunk_bytes(kMostStageRate) + 2>;
Bytes joined(int rate, const uint8_t* history, const uint8_t* chunk) {
  Bytes bytes{};
  std::memcpy(bytes.data(), history, 2);
  std::memcpy(bytes.data() + 2, chunk, static_cast<size_t>(chunk_bytes(rate)));
  return bytes;
}

int32_t value_of(int memory, int rate, const Bytes& bytes, int64_t row) {
  const auto bit = static_cast<size_t>((row + 1) * rate / kBitshiftQuarters);
  const uint32_t three = bytes[bit / 8] | static_cast<uint32_t>(bytes[bit / 8 + 1]) << 8 |
                         static_cast<uint32_t>(bytes[bit / 8 + 2]) << 16;
  const uint32_t window = three >> bit % 8 & 0xFFFF;
  return code_value(window >> (16 - memory), row_phase(rate, row));
}

}  // namespace

BitshiftLayout::BitshiftLayout(int64_t rows, int64_t segment_rows, std::span<const int32_t> levels,
                               std::span<const int32_t> offsets)
    : rows_(rows), segment_rows_(segment_rows), offsets_(offsets.begin(), offsets.end()) {
  assert(static_cast<int64_t>(offsets.size()) == bitshift_tiles(rows));
  const int32_t most = offsets.empty() ? 0 : *std::ranges::max_element(offsets);
  for (int32_t stage = 0; stage < kBitshiftStages; ++stage) {
    for (size_t i = 0; i < levels.size(); ++i) {
      const int32_t rate = levels[i] - stage * kMostStageRate;
      if (rate + most > 0) columns_.push_back({static_cast<int32_t>(i), stage, rate});
    }
  }
  std::ranges::stable_sort(
      columns_, [](const BitshiftColumn& a, const BitshiftColumn& b) { return a.rate > b.rate; });
  for (int64_t i = 0; i < static_cast<int64_t>(columns_.size()); ++i) {
    const int32_t rate = columns_[static_cast<size_t>(i)].rate;
    if (runs_.empty() || runs_.back().rate != rate) runs_.push_back({i, i, rate});
    ++runs_.back().end;
  }
  const int64_t segments = segment_rows > 0 ? (rows + segment_rows - 1) / segment_rows : 0;
  int64_t at = aligned(start(segments, 0));
  const int64_t first = at;
  for (int64_t t = 0; t < tiles(); ++t) {
    for (const BitshiftRun& run : runs_) {
      chunks_.push_back(at);
      at += (run.end - run.begin) * chunk_bytes(rate(run, t));
    }
  }
  data_bytes_ = at - first;
  payload_bytes_ = at + kBitshiftPadding;
}

int64_t BitshiftLayout::bytes() const {
  return bytes_of(columns_) + bytes_of(runs_) + bytes_of(offsets_) + bytes_of(chunks_);
}

int BitshiftLayout::rate(const BitshiftRun& run, int64_t tile) const {
  return std::clamp(run.rate + offsets_[static_cast<size_t>(tile)], 0, kMostStageRate);
}

BitshiftLayout::History BitshiftLayout::history(int64_t tile, size_t run) const {
  const int64_t segment = tile * kBitshiftRows / segment_rows_;
  for (int64_t t = tile - 1; t >= segment * segment_rows_ / kBitshiftRows; --t) {
    const int64_t bytes = chunk_bytes(rate(runs_[run], t));
    if (bytes > 0) return {chunk(t, run) + bytes - 2, bytes};
  }
  return {start(segment, runs_[run].begin), 2};
}

int32_t read_value(int memory, int rate, const uint8_t* history, const uint8_t* chunk,
                   int64_t row) {
  return value_of(memory, rate, joined(rate, history, chunk), row);
}

void read_chunk(int memory, int rate, const uint8_t* history, const uint8_t* chunk,
                std::span<int32_t> values) {
  const Bytes bytes = joined(rate, history, chunk);
  for (size_t row = 0; row < values.size(); ++row)
    values[row] = value_of(memory, rate, bytes, static_cast<int64_t>(row));
}

void write_chunk(int rate, std::span<const uint16_t> windows, uint8_t* chunk) {
  std::fill_n(chunk, chunk_bytes(rate), uint8_t{0});
  for (size_t row = 0; row < windows.size(); ++row) {
    const auto i = static_cast<int64_t>(row);
    const int count = row_bits(rate, i);
    const auto bit = static_cast<size_t>(i * rate / kBitshiftQuarters);
    for (int b = 0; b < count; ++b) {
      const size_t at = bit + static_cast<size_t>(b);
      chunk[at / 8] |= static_cast<uint8_t>((windows[row] >> (16 - count + b) & 1) << at % 8);
    }
  }
}

void read_tile(const Bitshift& stream, std::span<const uint8_t> payload, int64_t tile,
               MatrixView<int32_t> Z) {
  const BitshiftLayout& layout = stream.layout;
  const int64_t rows = Z.rows(), first = tile * kBitshiftRows;
  for (int64_t k = 0; k < rows; ++k) std::ranges::fill(Z.row(k), 0);
  std::array<int32_t, kBitshiftRows> values;
  for (size_t r = 0; r < layout.runs().size(); ++r) {
    const BitshiftRun& run = layout.runs()[r];
    const int rate = layout.rate(run, tile);
    if (rate == 0) continue;
    const BitshiftLayout::History history = layout.history(tile, r);
    for (int64_t i = run.begin; i < run.end; ++i) {
      const BitshiftColumn& column = layout.columns()[static_cast<size_t>(i)];
      read_chunk(stream.memory, rate,
                 payload.data() + history.begin + (i - run.begin) * history.step,
                 payload.data() + layout.chunk(tile, r) + (i - run.begin) * chunk_bytes(rate),
                 std::span(values).first(static_cast<size_t>(rows)));
      const int32_t unit = stage_unit(column.stage);
      for (int64_t k = 0; k < rows; ++k)
        Z(k, column.column) += unit * values[static_cast<size_t>(k)];
    }
  }
  const auto begin =
      std::ranges::lower_bound(stream.exceptions, first, {}, &BitshiftException::row);
  for (auto e = begin; e != stream.exceptions.end() && e->row < first + rows; ++e)
    Z(e->row - first, e->column) += stage_unit(0) * kExceptionUnit * e->value;
}

}  // namespace watersic
