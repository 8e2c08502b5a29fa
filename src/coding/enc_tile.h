// One tile's integers to its words: lane states and escapes, then the stream.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "coding/enc_table.h"
#include "watersic/matrix.h"

namespace watersic {

// A table made ready for the encoder.
class EncoderTable {
 public:
  explicit EncoderTable(const FittedTable& table);

  struct Symbol {
    uint32_t frequency = 0, start = 0;
  };
  // Values outside give the escape.
  const Symbol& symbol(int32_t v) const {
    const uint64_t i = static_cast<uint64_t>(int64_t{v} - code_.base);
    return symbols_[i < static_cast<uint64_t>(code_.symbols)
                        ? i
                        : static_cast<uint64_t>(code_.symbols)];
  }
  bool escaped(int32_t v) const {
    return v < code_.base || v >= int64_t{code_.base} + code_.symbols;
  }
  const TableCode& code() const { return code_; }

 private:
  TableCode code_;
  std::vector<Symbol> symbols_;
};

// `codes`: the tile. `table_of`: the table of each of its columns, all values of which it can code.
std::vector<uint16_t> encode_tile(MatrixView<const int32_t> codes,
                                  std::span<const EncoderTable* const> table_of, int lanes,
                                  int escape_parameter);

}  // namespace watersic
