#include "coding/enc_bitshift.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>

#include "coding/common_bitshift.h"
#include "coding/enc_sequence.h"
#include "coding/enc_side.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::vector<int64_t> wide(const std::vector<int32_t>& values) {
  return {values.begin(), values.end()};
}

std::vector<std::byte> head_of(const QuantizedTensor& q) {
  const Bitshift& b = q.bitshift;
  assert(static_cast<int64_t>(b.levels.size()) == q.live());
  HeadWriter head;
  write_side(head, q, kBitshiftTensorVersion);
  head.bits(static_cast<uint64_t>(b.memory - kLeastMemory), 4);
  head.exp_golomb(static_cast<uint64_t>(b.layout.segment_rows() / kBitshiftRows - 1), 4);
  write_sequence(head, wide(b.levels));
  write_sequence(head, wide(b.offsets));
  if (b.exceptions.size() > static_cast<size_t>(kMostExceptions))
    throw Error(fmt::format("expected at most {} weights far out of line, found {}",
                            kMostExceptions, b.exceptions.size()));
  head.exp_golomb(b.exceptions.size(), 4);
  std::vector<int64_t> rows, columns, values;
  int64_t last = 0;
  for (const BitshiftException& e : b.exceptions) {
    rows.push_back(e.row - last);
    columns.push_back(e.column);
    values.push_back(e.value);
    last = e.row;
  }
  write_sequence(head, rows);
  write_sequence(head, columns);
  write_sequence(head, values);
  const int row_bits = std::bit_width(static_cast<uint64_t>(std::max<int64_t>(q.rows, 1) - 1));
  head.bits(b.row_order.empty() ? 0 : 1, 1);
  for (const int32_t row : b.row_order) head.bits(static_cast<uint64_t>(row), row_bits);
  std::vector<std::byte> bytes;
  append_words(bytes, head.finish());
  bytes.resize((bytes.size() + kPayloadAlignment - 1) / kPayloadAlignment * kPayloadAlignment);
  return bytes;
}

}  // namespace

int64_t bitshift_head_bytes(const QuantizedTensor& tensor) {
  return static_cast<int64_t>(head_of(tensor).size());
}

std::vector<std::byte> encode_bitshift(const QuantizedTensor& tensor) {
  assert(static_cast<int64_t>(tensor.payload.size()) == tensor.bitshift.layout.payload_bytes());
  std::vector<std::byte> bytes = head_of(tensor);
  const auto payload = std::as_bytes(std::span(tensor.payload));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

}  // namespace watersic
