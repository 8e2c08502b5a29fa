// A quantized matrix from bytes. Nothing in them is believed: every error is an Error that names
// the tensor; nothing outside them is read; what is allocated is bounded by their number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/threads.h"
#include "coding/common_tensor.h"
#include "coding/common_tiles.h"
#include "coding/dec_lanes.h"
#include "watersic/matrix.h"

namespace watersic {

// A coded tensor opened for decoding tile by tile: its head is read, its integers are not. `blob`
// must outlive it and its copies; `name` is what errors call the tensor. Throws Error.
class TensorDecoder {
 public:
  TensorDecoder(std::span<const std::byte> blob, const std::string& name,
                DecoderKind kind = DecoderKind::kBest);

  const QuantizedTensor& tensor() const;     // all but the codes
  const TileGrid& grid() const;              // of the codes; no tiles where there are none
  std::span<const uint8_t> payload() const;  // in the runnable layout; it lies in the blob
  // Decodes tile t into `codes`, of its shape. May be called from several threads.
  void decode(int64_t t, MatrixView<int32_t> codes) const;

 private:
  struct Opened;
  std::shared_ptr<const Opened> opened_;
};

// Decodes all of it, tile by tile, and keeps nothing. Throws Error where it is damaged.
void check_tensor(const TensorDecoder& decoder, ThreadPool& pool);

// All of it.
QuantizedTensor decode_tensor(const TensorDecoder& decoder, ThreadPool& pool);
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
  int state_bits = 0;   // in the runnable layout
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
