// A quantized matrix from bytes. Nothing in them is believed: every error is an Error that names
// the tensor; nothing outside them is read; what is allocated is bounded by their number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/threads.h"
#include "coding/common_tensor.h"
#include "coding/dec_lanes.h"

namespace watersic {

// `name` is what errors call the tensor. Throws Error.
QuantizedTensor decode_tensor(std::span<const std::byte> blob, ThreadPool& pool,
                              const std::string& name, DecoderKind kind = DecoderKind::kBest);

// Where the bits of a blob go; coded + side is all of them.
struct TensorBits {
  double coded = 0;  // what the integers take: streams, lane states, tables, classes, tile sizes
  double side = 0;   // scales, dead columns, groups, shape, padding
  double total() const { return coded + side; }
};

// What a blob's head tells without decoding the integers.
struct TensorSummary {
  int64_t rows = 0, cols = 0, dead = 0;
  int trellis = 0;
  int64_t classes = 0;  // of spread: 1 if pooled
  int64_t tables = 0, tiles = 0;
  bool row_classes = false;
  int lanes = 0, precision = 0;
  int64_t segment_rows = 0, group_columns = 0;
  TensorBits bits;
};
TensorSummary summarize_tensor(std::span<const std::byte> blob, const std::string& name);

inline TensorBits tensor_bits(std::span<const std::byte> blob, const std::string& name) {
  return summarize_tensor(blob, name).bits;
}

}  // namespace watersic
