#include "kernels/bitshift_matrix.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/memory.h"

namespace watersic {
BitshiftMatrix::BitshiftMatrix(Bitshift stream, std::span<const uint8_t> bits, int64_t input_count,
                               std::span<const int32_t> live, std::span<const float> scales,
                               std::vector<float> row_scales, int64_t strand_count)
    : rows(stream.layout.rows()),
      inputs(input_count),
      strands(strand_count),
      row_order(std::move(stream.row_order)),
      position(row_order.size()),
      memory(stream.memory),
      layout(std::move(stream.layout)),
      payload(bits),
      column_scale(static_cast<size_t>(input_count)),
      row_scale(std::move(row_scales)) {
  assert(live.size() == scales.size() && inputs <= int64_t{TileException::kMostColumns});
  assert(static_cast<int64_t>(payload.size()) >= layout.payload_bytes());
  for (size_t k = 0; k < row_order.size(); ++k)
    position[static_cast<size_t>(row_order[k])] = static_cast<int32_t>(k);
  for (size_t i = 0; i < live.size(); ++i) column_scale[static_cast<size_t>(live[i])] = scales[i];
  tile_bytes = layout.data_bytes() / std::max<int64_t>(1, tiles());

  for (size_t r = 0; r < layout.runs().size(); ++r) {
    const BitshiftRun& run = layout.runs()[r];
    for (int64_t begin = run.begin; begin < run.end; begin += kBitshiftColumns) {
      const int64_t end = std::min(run.end, begin + kBitshiftColumns);
      blocks.push_back({.run = static_cast<int32_t>(r),
                        .columns = static_cast<int32_t>(end - begin),
                        .first = begin - run.begin,
                        .column = static_cast<int64_t>(source.size()),
                        .input = input_bytes});
      for (int64_t i = begin; i < end; ++i) {
        const BitshiftColumn& column = layout.columns()[static_cast<size_t>(i)];
        const auto at = static_cast<size_t>(column.column);
        source.push_back(live[at]);
        scale.push_back(scales[at] * static_cast<float>(stage_unit(column.stage)));
      }
      const auto padded = static_cast<size_t>(blocks.back().column + blocks.back().padded());
      source.resize(padded);
      scale.resize(padded);
      input_bytes += blocks.back().input_bytes();
    }
  }

  auto e = stream.exceptions.begin();
  for (int64_t t = 0; t < tiles(); ++t) {
    exception_begin.push_back(static_cast<int64_t>(exceptions.size()));
    for (; e != stream.exceptions.end() && e->row < (t + 1) * kTileRows; ++e)
      exceptions.emplace_back(e->row % kTileRows, live[static_cast<size_t>(e->column)],
                              static_cast<float>(stage_unit(0) * kExceptionUnit * e->value));
  }
  exception_begin.push_back(static_cast<int64_t>(exceptions.size()));
}

TileExceptions BitshiftMatrix::exceptions_of(int64_t tile) const {
  return {.values = tile_part(exceptions, exception_begin, tile),
          .column_scale = column_scale.data()};
}

int64_t BitshiftMatrix::bytes() const {
  return static_cast<int64_t>(payload.size()) + layout.bytes() + bytes_of(source) +
         bytes_of(scale) + bytes_of(blocks) + bytes_of(exceptions) + bytes_of(exception_begin) +
         bytes_of(row_order) + bytes_of(position) + bytes_of(column_scale) + bytes_of(row_scale);
}

}  // namespace watersic
