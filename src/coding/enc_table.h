// The table that codes a histogram in the fewest bits, its own description included.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "coding/common_rans.h"
#include "coding/common_table.h"
#include "coding/enc_bits.h"
#include "coding/enc_histogram.h"

namespace watersic {

inline constexpr int kEscapeParameters = 32;
// How many bits a list of escapes' values takes, by the Exp-Golomb parameter.
using EscapeBits = std::array<int64_t, kEscapeParameters>;

struct FittedTable {
  TableCode code;
  int precision = kDefaultPrecision;
  SymbolTable table;        // expanded
  double payload_bits = 0;  // of the symbols, as they will be coded; without the escapes' values
  EscapeBits escape_bits{};

  static constexpr int kDefaultPrecision = 12;
  int64_t table_bits() const;
};

// Never fails: every histogram has a table (an empty one has one symbol). precision 0: the best.
FittedTable fit_table(const Histogram& histogram, int precision = 0);

// What a table costs: the symbols of a histogram, without the escapes' values, which `escape_bits`
// gets; infinite where an integer has no symbol.
double payload_bits(const Histogram& histogram, const SymbolTable& table, int precision,
                    EscapeBits& escape_bits);

// What finite states lose, in bits for each symbol.
double state_loss(int precision);

// docs/format.md, "Tables".
template <class Writer>
void write_table(Writer& out, const TableCode& code) {
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
