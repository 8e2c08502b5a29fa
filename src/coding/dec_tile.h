// One tile's words back to its integers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "coding/dec_bits.h"
#include "coding/dec_lanes.h"
#include "coding/dec_table.h"
#include "watersic/matrix.h"

namespace watersic {

// A tensor's tables in the form that the inner loop reads, one after another in one array.
//
// Where alphabet and precision P allow (up to 256 symbols at P = 12, 64 at 13: nearly always) a
// slot is one 32-bit word, so that a table stays in the cache and one gather serves a register of
// lanes. From the lowest bit: P bits of offset in the symbol, P bits of frequency - 1, the symbol.
class DecoderTables {
 public:
  // Throws Error, naming the tensor, where a code describes no table.
  DecoderTables(std::vector<TableCode> codes, const std::string& name);

  const TableCode& code(int32_t t) const { return codes_[static_cast<size_t>(t)]; }
  uint32_t offset(int32_t t) const { return offsets_[static_cast<size_t>(t)]; }
  // All tables are packed, or none.
  bool packed() const { return packed_; }
  const uint32_t* entries() const { return entries_.data(); }
  const Slot* slots() const { return slots_.data(); }
  // What the inner loop writes for an escape.
  int32_t escape_marker(int32_t t) const {
    return static_cast<int32_t>(code(t).base + code(t).symbols);
  }

 private:
  std::vector<TableCode> codes_;
  std::vector<uint32_t> offsets_;
  bool packed_ = true;
  std::vector<uint32_t> entries_;  // where packed
  std::vector<Slot> slots_;        // where not
};

// `words`: exactly the tile's. `table_of`: the table of each column. Fills `codes`; throws Error,
// never reads or writes outside, whatever the words are.
void decode_tile(WordSpan words, const DecoderTables& tables, std::span<const int32_t> table_of,
                 int lanes, int escape_parameter, MatrixView<int32_t> codes,
                 const std::string& name, DecoderKind kind = DecoderKind::kBest);

}  // namespace watersic
