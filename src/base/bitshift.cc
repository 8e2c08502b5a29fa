#include "base/bitshift.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "base/memory.h"

namespace watersic {
namespace {

constexpr int64_t kAlignment = 32;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

uint32_t read_word(const uint8_t* p) { return p[0] | static_cast<uint32_t>(p[1]) << 8; }

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
    const int64_t segment = t * kBitshiftRows / segment_rows;
    segments_.push_back({segment * segment_rows / kBitshiftRows, start(segment, 0)});
    for (const BitshiftRun& run : runs_) {
      chunks_.push_back(at);
      at += (run.end - run.begin) * chunk_bytes(rate(run, t));
    }
  }
  data_bytes_ = at - first;
  payload_bytes_ = at + kBitshiftPadding;
}

int64_t BitshiftLayout::bytes() const {
  return bytes_of(columns_) + bytes_of(runs_) + bytes_of(offsets_) + bytes_of(chunks_) +
         bytes_of(segments_);
}

int32_t read_code(int memory, int rate, const BitshiftWords& words, int64_t row) {
  const int64_t bit = (row + 1) * rate / kBitshiftQuarters, word = bit / 16;
  const int shift = static_cast<int>(bit % 16);
  uint32_t window = read_word(words.at(word));
  if (shift != 0)
    window = next_window(window, read_word(words.at(word + 1)) >> (16 - shift), shift);
  return static_cast<int32_t>(code_of(memory, rate, window, row)) - kMiddleCode;
}

void read_chunk(int memory, int rate, const BitshiftWords& words, std::span<int32_t> codes) {
  for (size_t row = 0; row < codes.size(); ++row)
    codes[row] = read_code(memory, rate, words, static_cast<int64_t>(row));
}

void write_chunk(int rate, std::span<const uint16_t> windows, uint8_t* first, int64_t step) {
  std::array<uint32_t, chunk_words(kMostStageRate)> words{};
  for (size_t row = 0; row < windows.size(); ++row) {
    const auto i = static_cast<int64_t>(row);
    const int count = row_bits(rate, i);
    const auto bit = static_cast<size_t>(i * rate / kBitshiftQuarters);
    for (int b = 0; b < count; ++b) {
      const size_t at = bit + static_cast<size_t>(b);
      words[at / 16] |= (uint32_t{windows[row]} >> (count - 1 - b) & 1) << (15 - at % 16);
    }
  }
  for (int64_t j = 0; j < chunk_words(rate); ++j) {
    const uint32_t word = words[static_cast<size_t>(j)];
    first[j * step] = static_cast<uint8_t>(word);
    first[j * step + 1] = static_cast<uint8_t>(word >> 8);
  }
}

void read_tile(const Bitshift& stream, std::span<const uint8_t> payload, int64_t tile,
               MatrixView<int32_t> Z) {
  const BitshiftLayout& layout = stream.layout;
  const int64_t rows = Z.rows(), first = tile * kBitshiftRows;
  for (int64_t k = 0; k < rows; ++k) std::ranges::fill(Z.row(k), 0);
  std::array<int32_t, kBitshiftRows> codes;
  for (size_t r = 0; r < layout.runs().size(); ++r) {
    const BitshiftRun& run = layout.runs()[r];
    const int rate = layout.rate(run, tile);
    if (rate == 0) continue;
    for (int64_t i = run.begin; i < run.end; ++i) {
      const BitshiftColumn& column = layout.columns()[static_cast<size_t>(i)];
      read_chunk(stream.memory, rate, layout.words(tile, r, i - run.begin).in(payload.data()),
                 std::span(codes).first(static_cast<size_t>(rows)));
      const int32_t unit = stage_unit(column.stage) * code_unit(rate);
      for (int64_t k = 0; k < rows; ++k)
        Z(k, column.column) += unit * codes[static_cast<size_t>(k)];
    }
  }
  const auto begin =
      std::ranges::lower_bound(stream.exceptions, first, {}, &BitshiftException::row);
  for (auto e = begin; e != stream.exceptions.end() && e->row < first + rows; ++e)
    Z(e->row - first, e->column) += stage_unit(0) * kExceptionUnit * e->value;
}

}  // namespace watersic
