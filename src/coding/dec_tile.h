// One tile's words back to its integers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "coding/dec_bits.h"
#include "coding/dec_table.h"
#include "watersic/matrix.h"

namespace watersic {

// A table in the form that the inner loop reads. Where alphabet and precision P allow (up to 256
// symbols at P = 12, 64 at 13: nearly always) a slot is one 32-bit word, so that a table stays in
// the cache and one gather serves a register of lanes. From the lowest bit: P bits of offset in the
// symbol, P bits of frequency - 1, the symbol.
class DecoderTable {
 public:
  DecoderTable(const TableCode& code, const std::string& name);

  bool packable() const { return code_.alphabet() <= int64_t{1} << (32 - 2 * code_.precision); }
  const TableCode& code() const { return code_; }
  const uint32_t* packed() const { return packed_.data(); }
  const Slot* slots() const { return slots_.data(); }
  // What the inner loop writes for an escape.
  int32_t escape_marker() const { return static_cast<int32_t>(code_.base + code_.symbols); }

 private:
  TableCode code_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> packed_;  // empty where not packable
};

// `words`: exactly the tile's. `table_of`: the table of each column. Fills `codes`; throws Error,
// never reads or writes outside, whatever the words are.
void decode_tile(WordSpan words, std::span<const DecoderTable* const> table_of, int lanes,
                 int escape_parameter, MatrixView<int32_t> codes, const std::string& name);

}  // namespace watersic
