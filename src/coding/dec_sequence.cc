#include "coding/dec_sequence.h"

#include <fmt/format.h>

#include "coding/common_gauss.h"
#include "coding/common_sequence.h"
#include "coding/dec_table.h"

namespace watersic {
namespace {

// Equal numbers cost nothing, so their count is held to the length of the tensor.
constexpr int64_t kMaxEqual = int64_t{1} << 20, kMaxPerWord = 64;
constexpr int64_t kMaxCenter = int64_t{1} << 38;

}  // namespace

std::vector<int64_t> read_sequence(BitReader& in, int64_t count, int64_t low, int64_t high,
                                   const char* what, const std::string& name) {
  if (count == 0) return {};
  if ((count - kMaxEqual) / kMaxPerWord > static_cast<int64_t>(in.words()))
    damaged(name, fmt::format("{}: {} are too many", what, count));
  const auto kind = static_cast<SequenceKind>(in.bits(2));
  const int low_bits = kind == SequenceKind::kConstant ? 0 : static_cast<int>(in.bits(4));
  const int64_t center = kind == SequenceKind::kFitted ? 0 : in.signed_number(8);
  if (center < -kMaxCenter || center > kMaxCenter) damaged(name, "a center is out of range");
  int parameter = 0, precision = 0;
  SymbolTable table;
  if (kind == SequenceKind::kExpGolomb) {
    parameter = static_cast<int>(in.bits(4));
  } else if (kind == SequenceKind::kGaussian) {
    const int q = static_cast<int>(in.bits(1)), spread = static_cast<int>(in.bits(7));
    precision = kMinPrecision + static_cast<int>(in.bits(3));
    if (spread >= kSpreads || !gaussian_table(spread, q, precision, 0, true, table))
      damaged(name, "a Gaussian is too wide");
  } else if (kind == SequenceKind::kFitted) {
    precision = kMinPrecision + static_cast<int>(in.bits(3));
    if (!expand_table(read_table(in, name), precision, table))
      damaged(name, "a table cannot be expanded");
  }
  std::vector<int64_t> values;
  for (int64_t i = 0; i < count; ++i) {
    int64_t upper = 0;
    if (kind == SequenceKind::kExpGolomb) {
      upper = in.signed_number(parameter);
    } else if (kind != SequenceKind::kConstant) {
      const auto s = static_cast<int64_t>(in.symbol(table.frequencies, precision));
      upper = s < table.symbols
                  ? table.base + s
                  : escape_value(table, s > table.symbols, in.exp_golomb(kSequenceEscapeParameter));
    }
    const int64_t value = ((upper + center) << low_bits) + static_cast<int64_t>(in.bits(low_bits));
    if (value < low || value > high)
      damaged(name, fmt::format("{}: expected {} to {}, found {}", what, low, high, value));
    values.push_back(value);
  }
  return values;
}

}  // namespace watersic
