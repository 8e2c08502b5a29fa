#include <algorithm>

#include "kernels/packed_layout.h"
#include "runtime/layers.h"

namespace watersic {
namespace {

// Calls body(tile, its integers) for all tiles of a tensor, or those of each `step`-th segment of
// rows.
using TileFn = std::function<void(const TileGrid::Tile&, MatrixView<const int32_t>)>;
void for_each_tile(ThreadPool& pool, const TensorDecoder& decoder, int64_t step,
                   const TileFn& body) {
  const TileGrid& grid = decoder.grid();
  const int64_t groups = grid.groups();
  pool.parallel_for(tile_count(grid.segments(), step) * groups, [&](int64_t i) {
    const int64_t t = i / groups * step * groups + i % groups;
    const TileGrid::Tile tile = grid.tile(t);
    // Rows a little apart: at a power of two they would fall into the same lines of the cache.
    Matrix<int32_t> integers(tile.rows, tile.columns + 16);
    const auto part = integers.view().block(0, 0, tile.rows, tile.columns);
    decoder.decode(t, part);
    body(tile, part);
  });
}

std::vector<PackedColumn> columns_of(const QuantizedTensor& q, const IntegerCounts& counts) {
  const float unit = q.trellis > 0 ? 0.5F : 1.0F;
  std::vector<PackedColumn> columns;
  for (const int32_t input : live_inputs(q)) {
    const auto i = static_cast<int64_t>(columns.size());
    columns.push_back({.input = input,
                       .group = q.groups > 0 ? q.column_group[static_cast<size_t>(i)] : 0,
                       .scale = q.groups > 0 ? unit : q.column_scale.value(i) * unit,
                       .range = counts.best_range(i)});
  }
  return columns;
}

PackedMatrix packed(ThreadPool& pool, const TensorDecoder& decoder) {
  const QuantizedTensor& q = decoder.tensor();
  IntegerCounts counts(q.live());
  // Widths from a part of the rows: the rest is alike, or else its integers are exceptions.
  constexpr int64_t kSegments = 4;
  const int64_t step = std::max<int64_t>(1, decoder.grid().segments() / kSegments);
  for_each_tile(pool, decoder, step,
                [&](const TileGrid::Tile& tile, MatrixView<const int32_t> integers) {
                  counts.add(tile.column, integers);
                });
  PackedWriter writer(q.rows, q.cols, q.groups, columns_of(q, counts));
  for_each_tile(pool, decoder, 1,
                [&](const TileGrid::Tile& tile, MatrixView<const int32_t> integers) {
                  writer.write(tile.row, tile.column, integers);
                });
  PackedMatrix M = writer.take();
  M.strands = q.strands;
  for (int64_t k = 0; k < q.rows && !q.row_scale.half.empty() && q.groups == 0; ++k)
    M.row_scale.push_back(q.row_scale.value(k));
  M.group_scale.resize(static_cast<size_t>(M.tiles() * q.groups * kTileRows));
  for (int64_t k = 0; k < q.rows; ++k)
    for (int64_t g = 0; g < q.groups; ++g)
      M.group_scale[static_cast<size_t>((k / kTileRows * q.groups + g) * kTileRows +
                                        k % kTileRows)] = q.group_scale.value(k * q.groups + g);
  return M;
}

}  // namespace

PackedLayer::PackedLayer(ThreadPool& pool, const TensorDecoder& decoder, std::vector<float> bias,
                         InputPrecision precision)
    : IntegerLayer(decoder.tensor().cols, decoder.tensor().rotation, std::move(bias), precision),
      M_(packed(pool, decoder)) {}

void PackedLayer::multiply(ThreadPool& pool, MatrixView<const float> X, float beta,
                           MatrixView<float> Y) const {
  packed_multiply(pool, M_, X, precision(), bias(), beta, Y);
}

void PackedLayer::read_row(int64_t output, std::span<float> out) const {
  packed_row(M_, output, out);
}

}  // namespace watersic
