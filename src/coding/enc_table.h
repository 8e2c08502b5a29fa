// The table that codes a histogram in the fewest bits, its own description included.
#pragma once

#include <cstdint>
#include <vector>

#include "coding/common_rans.h"
#include "coding/common_table.h"
#include "coding/enc_bits.h"
#include "coding/enc_histogram.h"

namespace watersic {

struct FittedTable {
  TableCode code;
  std::vector<uint32_t> frequencies;  // expand_table(code)
  double payload_bits = 0;  // of the symbols, as they will be coded; without the escapes' values
  // How many escapes' values cost how much: index k, Exp-Golomb parameter k.
  std::vector<int64_t> escape_bits;

  int64_t table_bits() const;
};

// Never fails: every histogram has a table (an empty one has one symbol).
FittedTable fit_table(const Histogram& histogram);

// What an escaped value is coded as: its distance beyond the table's range, the side in the last
// bit.
inline uint64_t escape_code(const TableCode& code, int64_t value) {
  const int64_t above = value - (code.base + code.symbols);
  return above >= 0 ? static_cast<uint64_t>(2 * above + 1)
                    : static_cast<uint64_t>(2 * (code.base - 1 - value));
}
inline constexpr int kEscapeParameters = 32;

// Writes a table: docs/format.md, "Table".
template <class Writer>
void write_table(Writer& out, const TableCode& code) {
  out.bits(static_cast<uint64_t>(code.precision - kMinPrecision), 3);
  out.exp_golomb(static_cast<uint64_t>(code.symbols - 1), 4);
  out.exp_golomb(zigzag(code.base), 4);
  out.bits(code.escape ? 1 : 0, 1);
  if (code.alphabet() == 1) return;
  out.bits(static_cast<uint64_t>(code.shift), 3);
  out.bits(static_cast<uint64_t>(code.spacing), 3);
  out.bits(static_cast<uint64_t>(code.order - 1), 1);
  out.bits(static_cast<uint64_t>(code.parameter), 4);
  out.exp_golomb(zigzag(code.bias), 2);
  out.exp_golomb(static_cast<uint64_t>(code.knots[0]), 3);
  for (int64_t i = 1; i < code.knot_count(); ++i)
    out.exp_golomb(zigzag(code.knots[static_cast<size_t>(i)] - code.prediction(i)), code.parameter);
  if (code.escape) out.exp_golomb(static_cast<uint64_t>(code.escape_knot), 3);
}

}  // namespace watersic
