#include "coding/dec_table.h"

#include "coding/common_rans.h"

namespace watersic {

TableCode read_table(BitReader& in, const std::string& name) {
  TableCode code;
  code.symbols = 1 + in.number(4, kMaxSymbols - 1, "symbols of a table");
  const int64_t base = unzigzag(in.exp_golomb(4));
  code.escape = in.bits(1) != 0;
  if (base < kMinSymbolValue || base > kMaxSymbolValue - (code.symbols - 1))
    damaged(name, "a table's integers go beyond 2^29");
  if (code.alphabet() > kMaxSymbols) damaged(name, "a table is too large");
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

}  // namespace watersic
