#include "coding/dec_bitshift.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "coding/common_bitshift.h"
#include "coding/common_rans.h"
#include "coding/dec_sequence.h"

namespace watersic {
namespace {

std::vector<int32_t> read_rates(BitReader& in, int64_t count, const char* what,
                                const std::string& name) {
  std::vector<int32_t> out;
  for (const int64_t v : read_sequence(in, count, -kMostRate, kMostRate, what, name))
    out.push_back(static_cast<int32_t>(v));
  return out;
}

void read_exceptions(BitReader& in, QuantizedTensor& q, const std::string& name) {
  const int64_t count = in.number(4, kMostExceptions, "exceptions");
  const auto rows = read_sequence(in, count, 0, q.rows, "rows of exceptions", name);
  const auto columns = read_sequence(in, count, 0, q.live(), "columns of exceptions", name);
  const auto values = read_sequence(in, count, -128, 127, "exceptions", name);
  BitshiftException last{.row = 0, .column = -1};
  for (size_t i = 0; i < rows.size(); ++i) {
    const BitshiftException e{.row = last.row + rows[i],
                              .column = static_cast<int32_t>(columns[i]),
                              .value = static_cast<int32_t>(values[i])};
    if (e.row >= q.rows || columns[i] >= q.live() || e.value == 0 ||
        (e.row == last.row && e.column <= last.column))
      damaged(name, "an exception is out of place");
    q.bitshift.exceptions.push_back(e);
    last = e;
  }
}

void read_row_order(BitReader& in, QuantizedTensor& q, const std::string& name) {
  const int bits = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(q.rows, 1) - 1));
  std::vector<bool> seen(static_cast<size_t>(q.rows));
  for (int64_t k = 0; k < q.rows; ++k) {
    const auto row = static_cast<size_t>(in.bits(bits));
    if (row >= seen.size() || seen[row]) damaged(name, "its rows are in no order");
    seen[row] = true;
    q.bitshift.row_order.push_back(static_cast<int32_t>(row));
  }
}

}  // namespace

std::span<const uint8_t> read_bitshift(BitReader& in, std::span<const std::byte> blob,
                                       QuantizedTensor& q, const std::string& name) {
  Bitshift& b = q.bitshift;
  if (q.trellis != 0 || q.groups != 0) damaged(name, "it has a trellis or groups of another kind");
  // As of other tensors, the file's length bounds what is decoded.
  if (q.live() > 0 &&
      q.rows > static_cast<int64_t>(blob.size() / 4) * (kMaxTileWeights / q.live() + 1))
    damaged(name, "it is too short for its shape");
  b.memory = kLeastMemory + static_cast<int>(in.bits(4));
  if (b.memory > kMostMemory) damaged(name, "its state has too many bits");
  const int64_t segment =
      kBitshiftRows * (1 + in.number(4, bitshift_tiles(INT32_MAX), "tiles of a segment"));
  b.levels = read_rates(in, q.live(), "rates of columns", name);
  b.offsets = read_rates(in, bitshift_tiles(q.rows), "rates of tiles", name);
  read_exceptions(in, q, name);
  if (in.bits(1) != 0) read_row_order(in, q, name);
  const size_t words = in.finish();
  const size_t head = (2 * words + kPayloadAlignment - 1) / kPayloadAlignment * kPayloadAlignment;
  // The layout's own tables, too: a place for each tile and rate.
  const std::set<int32_t> rates(b.levels.begin(), b.levels.end());
  if (rates.size() * kBitshiftStages * b.offsets.size() > 4096 + 64 * blob.size())
    damaged(name, "it has more rates than it can have bits");
  b.layout = BitshiftLayout(q.rows, segment, b.levels, b.offsets);
  if (head > blob.size() || static_cast<uint64_t>(b.layout.payload_bytes()) != blob.size() - head) {
    damaged(name, fmt::format("expected a payload of {} bytes, found {}", b.layout.payload_bytes(),
                              blob.size() - std::min(head, blob.size())));
  }
  const auto payload = blob.subspan(head);
  const auto zero = [](std::byte byte) { return byte == std::byte{0}; };
  if (!std::ranges::all_of(blob.subspan(2 * words, head - 2 * words), zero) ||
      !std::ranges::all_of(payload.last(kBitshiftPadding), zero))
    damaged(name, "its padding is not zero");
  return {reinterpret_cast<const uint8_t*>(payload.data()), payload.size()};
}

}  // namespace watersic
