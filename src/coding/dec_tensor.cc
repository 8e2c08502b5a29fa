#include "coding/dec_tensor.h"

#include <fmt/format.h>

#include <cassert>
#include <optional>
#include <utility>

#include "coding/common_bitshift.h"
#include "coding/common_rans.h"
#include "coding/dec_bits.h"
#include "coding/dec_bitshift.h"
#include "coding/dec_model.h"
#include "coding/dec_sequence.h"
#include "coding/dec_side.h"
#include "coding/dec_tables.h"
#include "coding/dec_tile.h"

namespace watersic {
namespace {

// The head of a blob: everything but the tiles.
struct Head {
  QuantizedTensor tensor;  // without codes
  TileGrid grid;
  CodingHead coding;
  std::vector<WordSpan> tiles;
  std::span<const uint8_t> payload;  // in the runnable layout, instead of tiles
  int64_t coded_bits = 0;
};

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
  int version = 0;
  q = read_side(in, name, version);
  const int64_t side = in.size();
  if (version == kBitshiftTensorVersion) {
    head.payload = read_bitshift(in, blob, q, name);
    head.coded_bits = in.size() - side + 8 * static_cast<int64_t>(head.payload.size());
    if (q.live() > 0)
      head.grid = {.rows = q.rows,
                   .live = q.live(),
                   .segment_rows = kBitshiftRows,
                   .group_columns = q.live()};
    return head;
  }
  std::vector<int64_t> sizes;
  if (q.rows > 0 && q.live() > 0) {
    head.grid.rows = q.rows;
    head.grid.live = q.live();
    read_grid(in, head.grid, name);
    // Two words at least: a lane's state takes 20 bits. It bounds what the tiles can decode to.
    if (head.grid.tiles() > static_cast<int64_t>(words.size() / 2))
      damaged(name, "its tiles are cut short");
    if (q.trellis > 0) q.segment_rows = head.grid.segment_rows;
    head.coding = read_model(in, q, name);
    sizes = read_sequence(in, head.grid.tiles(), 2, static_cast<int64_t>(words.size()),
                          "words of a tile", name);
  }
  head.coded_bits = in.size() - side;
  size_t next = in.finish();
  for (const int64_t size : sizes) {
    if (static_cast<size_t>(size) > words.size() - next) damaged(name, "its tiles are cut short");
    head.tiles.push_back(words.subspan(next, static_cast<size_t>(size)));
    next += static_cast<size_t>(size);
    head.coded_bits += 16 * size;
  }
  if (next != words.size()) damaged(name, "it has bytes left over");
  return head;
}

}  // namespace

struct TensorDecoder::Opened {
  Opened(std::span<const std::byte> blob, std::string name_of_errors, DecoderKind decoder_kind)
      : name(std::move(name_of_errors)), kind(decoder_kind), head(read_head(blob, name)) {
    if (!head.tiles.empty()) tables.emplace(head.coding);
  }

  const std::string name;
  const DecoderKind kind;
  const Head head;
  std::optional<DecoderTables> tables;  // of `head`; none without integers
};

TensorDecoder::TensorDecoder(std::span<const std::byte> blob, const std::string& name,
                             DecoderKind kind)
    : opened_(std::make_shared<const Opened>(blob, name, kind)) {}

const QuantizedTensor& TensorDecoder::tensor() const { return opened_->head.tensor; }
const TileGrid& TensorDecoder::grid() const { return opened_->head.grid; }
std::span<const uint8_t> TensorDecoder::payload() const { return opened_->head.payload; }

void TensorDecoder::decode(int64_t t, MatrixView<int32_t> codes) const {
  const auto& [name, kind, head, tables] = *opened_;
  const TileGrid::Tile tile = head.grid.tile(t);
  assert(codes.rows() == tile.rows && codes.cols() == tile.columns);
  if (!head.tensor.bitshift.empty()) {
    read_tile(head.tensor.bitshift, head.payload, t, codes);
    return;
  }
  decode_tile(head.tiles[static_cast<size_t>(t)], *tables, tile, head.grid.lanes,
              head.tensor.trellis, codes, name, kind);
}

void check_tensor(const TensorDecoder& decoder, ThreadPool& pool) {
  const TileGrid& grid = decoder.grid();
  pool.parallel_for(grid.tiles(), [&](int64_t t) {
    const TileGrid::Tile tile = grid.tile(t);
    Matrix<int32_t> codes(tile.rows, tile.columns);
    decoder.decode(t, codes);
  });
}

QuantizedTensor decode_tensor(const TensorDecoder& decoder, ThreadPool& pool) {
  QuantizedTensor q = decoder.tensor();
  q.payload.assign(decoder.payload().begin(), decoder.payload().end());
  // Bounded: each tile of at most 2^20 integers has two words at least.
  q.codes = Matrix<int32_t>(q.rows, q.live());
  const TileGrid& grid = decoder.grid();
  pool.parallel_for(grid.tiles(), [&](int64_t t) {
    const TileGrid::Tile tile = grid.tile(t);
    decoder.decode(t, q.codes.view().block(tile.row, tile.column, tile.rows, tile.columns));
  });
  return q;
}

QuantizedTensor decode_tensor(std::span<const std::byte> blob, ThreadPool& pool,
                              const std::string& name, DecoderKind kind) {
  return decode_tensor(TensorDecoder(blob, name, kind), pool);
}

TensorSummary summarize_tensor(std::span<const std::byte> blob, const std::string& name) {
  const Head head = read_head(blob, name);
  const QuantizedTensor& q = head.tensor;
  TensorSummary s;
  s.rows = q.rows;
  s.cols = q.cols;
  s.dead = static_cast<int64_t>(q.dead.size());
  s.trellis = q.trellis;
  s.state_bits = q.bitshift.memory;
  s.classes = head.coding.tables.empty() ? 0 : head.coding.classes.count - 1;
  s.tables = s.classes * head.coding.qs;
  s.row_classes = head.coding.classes.kind == Classes::kRows;
  s.tiles = head.grid.tiles();
  s.lanes = head.grid.lanes;
  s.precision = head.coding.precision;
  s.segment_rows = head.grid.segment_rows;
  s.group_columns = head.grid.group_columns;
  s.bits.coded = static_cast<double>(head.coded_bits);
  s.bits.side = 8.0 * static_cast<double>(blob.size()) - s.bits.coded;
  return s;
}

}  // namespace watersic
