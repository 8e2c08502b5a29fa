#include "coding/dec_table.h"

#include <algorithm>
#include <limits>

#include "coding/common_rans.h"

namespace watersic {

TableCode read_table(BitReader& in, const std::string& name) {
  TableCode code;
  code.precision = kMinPrecision + static_cast<int>(in.bits(3));
  code.symbols = 1 + in.number(4, kMaxSymbols - 1, "symbols of a table");
  const int64_t base = unzigzag(in.exp_golomb(4));
  code.escape = in.bits(1) != 0;
  // The decoder marks an escape with the integer after the last symbol's.
  const int64_t last = base + code.symbols - (code.escape ? 0 : 1);
  if (base < std::numeric_limits<int32_t>::min() || last > std::numeric_limits<int32_t>::max())
    damaged(name, "a table's integers go beyond 32 bits");
  if (code.alphabet() > kMaxSymbols || code.precision > kMaxPrecision)
    damaged(name, "a table is too large");
  code.base = static_cast<int32_t>(base);
  if (code.alphabet() == 1) return code;

  code.shift = static_cast<int>(in.bits(3));
  code.spacing = static_cast<int>(in.bits(3));
  code.order = 1 + static_cast<int>(in.bits(1));
  code.parameter = static_cast<int>(in.bits(4));
  // Bounds on each number, so that no sum of theirs can wrap.
  constexpr int64_t kMaxKnot = kMaxLevel + 1, kMaxResidual = int64_t{1} << 20;
  code.bias = unzigzag(static_cast<uint64_t>(in.number(2, kMaxResidual, "a table's bias")));
  code.knots.resize(static_cast<size_t>(code.knot_count()));
  code.knots[0] = static_cast<int32_t>(in.number(3, kMaxKnot, "a table's first knot"));
  for (int64_t i = 1; i < code.knot_count(); ++i) {
    const int64_t knot =
        code.prediction(i) +
        unzigzag(static_cast<uint64_t>(in.number(code.parameter, kMaxResidual, "a table's knot")));
    if (knot < 0 || knot > kMaxKnot) damaged(name, "a table's knot is out of range");
    code.knots[static_cast<size_t>(i)] = static_cast<int32_t>(knot);
  }
  if (code.escape)
    code.escape_knot = static_cast<int32_t>(in.number(3, kMaxKnot, "a table's escape"));
  return code;
}

std::vector<Slot> expand_slots(const TableCode& code, const std::string& name) {
  std::vector<uint32_t> frequencies;
  if (!expand_table(code, frequencies)) damaged(name, "a table cannot be expanded");
  std::vector<Slot> slots;
  slots.reserve(size_t{1} << code.precision);
  for (size_t s = 0; s < frequencies.size(); ++s) {
    for (uint32_t i = 0; i < frequencies[s]; ++i)
      slots.push_back({static_cast<uint16_t>(s), static_cast<uint16_t>(frequencies[s] - 1),
                       static_cast<uint16_t>(i)});
  }
  return slots;
}

}  // namespace watersic
