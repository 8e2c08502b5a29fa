// A quantized matrix to bytes: docs/format.md, "The coded tensor".
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/threads.h"
#include "coding/common_tensor.h"
#include "coding/common_tiles.h"
#include "watersic/options.h"

namespace watersic {

struct CodingModel;

// How the integers are coded and the matrix is cut. The defaults are what encode_tensor takes.
struct CodingPlan {
  Coder coder = Coder::kClasses;
  // 0: chosen so that lanes and tiles cost little. segment_rows * group_columns <= 2^20; lanes is a
  // power of two up to 64. With a trellis the tensor's segment_rows count, and these not.
  int64_t segment_rows = 0, group_columns = 0;
  int lanes = 0;
  // Fitted to the tensor already (coding/enc_model.h).
  const CodingModel* model = nullptr;
};

// The integers alone.
struct CodedTiles {
  TileGrid grid;
  std::vector<std::vector<uint16_t>> words;  // of each tile
};
// By plan.model. Throws Error where there are too many, or they are no path through the trellis.
CodedTiles encode_tiles(const QuantizedTensor& tensor, const CodingPlan& plan, ThreadPool& pool);
// The blob of what plan.model has coded: no other integers, nor other tables or classes.
std::vector<std::byte> encode_tensor(const QuantizedTensor& tensor, const CodedTiles& tiles,
                                     const CodingModel& model);

// The blob, the same at any number of threads. Throws Error where the tensor can't be written: a
// scale that is not finite, more than 2^32 weights, segments of more than 2^20 rows, integers that
// are no path through the trellis.
std::vector<std::byte> encode_tensor(const QuantizedTensor& tensor, ThreadPool& pool);
std::vector<std::byte> encode_tensor(const QuantizedTensor& tensor, const CodingPlan& plan,
                                     ThreadPool& pool);

}  // namespace watersic
