#include "coding/enc_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "base/trellis.h"
#include "coding/common_rans.h"
#include "coding/enc_bitshift.h"
#include "coding/enc_grid.h"
#include "coding/enc_model.h"
#include "coding/enc_sequence.h"
#include "coding/enc_side.h"
#include "coding/enc_tile.h"
#include "watersic/error.h"

namespace watersic {
namespace {

void check_size(const QuantizedTensor& q) {
  if (q.rows > INT32_MAX || q.cols > INT32_MAX || (q.cols > 0 && q.rows > kMaxWeights / q.cols))
    throw Error(
        fmt::format("expected a matrix of at most 2^32 weights, found {} x {}", q.rows, q.cols));
}

// That each m has the parity which the trellis gives its place: the decoder knows no other.
void check_paths(const QuantizedTensor& t, ThreadPool& pool) {
  const Trellis& trellis = Trellis::of(t.trellis);
  if (t.segment_rows < 1 || t.segment_rows > kMaxTileWeights)
    throw Error(
        fmt::format("trellis: expected segments of 1 to 2^20 rows, found {}", t.segment_rows));
  constexpr int64_t kColumns = 64;
  pool.parallel_for(tile_count(t.live(), kColumns), [&](int64_t block) {
    const int64_t first = block * kColumns, n = std::min(kColumns, t.live() - first);
    int state[kColumns];
    for (int64_t r = 0; r < t.rows; ++r) {
      if (r % t.segment_rows == 0) std::fill(std::begin(state), std::end(state), 0);
      const int32_t* m = &t.codes(r, first);
      int wrong = 0;
      for (int64_t i = 0; i < n; ++i) {
        wrong |= (m[i] ^ state[i]) & 1;
        state[i] = trellis.next(state[i], (m[i] >> 1) & 1);
      }
      if (wrong != 0)
        throw Error(
            fmt::format("trellis: the integers of row {} are no path of {} states", r, t.trellis));
    }
  });
}

}  // namespace

std::vector<std::byte> encode_tensor(const QuantizedTensor& tensor, ThreadPool& pool) {
  return encode_tensor(tensor, CodingPlan{}, pool);
}

CodedTiles encode_tiles(const QuantizedTensor& q, const CodingPlan& plan, ThreadPool& pool) {
  check_size(q);
  assert(q.codes.rows() == q.rows && q.codes.cols() == q.live());
  CodedTiles tiles;
  if (q.codes.empty()) return tiles;
  if (q.trellis > 0) check_paths(q, pool);
  tiles.grid = choose_grid(q.rows, q.live(), plan, q.trellis > 0 ? q.segment_rows : 0);
  const EncoderTables tables(*plan.model);
  tiles.words.resize(static_cast<size_t>(tiles.grid.tiles()));
  pool.parallel_for(tiles.grid.tiles(), [&](int64_t t) {
    const TileGrid::Tile tile = tiles.grid.tile(t);
    tiles.words[static_cast<size_t>(t)] =
        encode_tile(q.codes.view().block(tile.row, tile.column, tile.rows, tile.columns), tile,
                    tables, q.trellis > 0, tiles.grid.lanes);
  });
  return tiles;
}

std::vector<std::byte> encode_tensor(const QuantizedTensor& q, const CodedTiles& tiles,
                                     const CodingModel& model) {
  HeadWriter head;
  write_side(head, q);
  if (!tiles.words.empty()) {
    write_grid(head, tiles.grid);
    write_model(head, model);
    std::vector<int64_t> sizes;
    sizes.reserve(tiles.words.size());
    for (const auto& t : tiles.words) sizes.push_back(static_cast<int64_t>(t.size()));
    write_sequence(head, sizes);
  }
  std::vector<std::byte> bytes;
  append_words(bytes, head.finish());
  size_t words = 0;
  for (const auto& t : tiles.words) words += t.size();
  bytes.reserve(bytes.size() + 2 * words);
  for (const auto& t : tiles.words) append_words(bytes, t);
  return bytes;
}

std::vector<std::byte> encode_tensor(const QuantizedTensor& q, const CodingPlan& plan,
                                     ThreadPool& pool) {
  check_size(q);
  if (!q.bitshift.empty()) return encode_bitshift(q);
  CodingPlan fitted = plan;
  CodingModel model;
  if (plan.model == nullptr) {
    if (!q.codes.empty()) model = fit_model(q, plan.coder, pool);
    fitted.model = &model;
  }
  return encode_tensor(q, encode_tiles(q, fitted, pool), *fitted.model);
}

}  // namespace watersic
