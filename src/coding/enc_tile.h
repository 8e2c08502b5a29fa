// One tile's integers to its words: lane states and escapes, then the stream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coding/common_tiles.h"
#include "coding/enc_model.h"
#include "watersic/matrix.h"

namespace watersic {

// The model's tables made ready: for each class and q the frequency and start of each integer.
class EncoderTables {
 public:
  explicit EncoderTables(const CodingModel& model);

  struct Symbol {
    uint32_t frequency = 0, start = 0;  // frequency 0: escaped, or absent
  };
  const CodingModel& model() const { return *model_; }
  // The symbol of k in table t.
  const Symbol& symbol(size_t t, int32_t k) const {
    const Range& range = ranges_[t];
    const auto i = static_cast<uint64_t>(int64_t{k} - range.base);
    return symbols_[range.first + (i < range.symbols ? i : range.symbols + (k & 1))];
  }
  bool escaped(size_t t, int32_t k) const { return !model_->tables[t].holds(k); }

 private:
  struct Range {
    int64_t base;
    uint64_t symbols;
    size_t first;
  };
  const CodingModel* model_;
  std::vector<Range> ranges_;
  std::vector<Symbol> symbols_;
};

// `codes`: the tile's part of the matrix; `trellis`: whether they are m.
std::vector<uint16_t> encode_tile(MatrixView<const int32_t> codes, const TileGrid::Tile& tile,
                                  const EncoderTables& tables, bool trellis, int lanes);

}  // namespace watersic
