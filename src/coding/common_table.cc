#include "coding/common_table.h"

#include <algorithm>

namespace watersic {
namespace {

// round(2^15 2^(i/64)). Part of the format.
constexpr uint16_t kExp2[64] = {
    32768, 33125, 33486, 33850, 34219, 34591, 34968, 35349, 35734, 36123, 36516, 36914, 37316,
    37722, 38133, 38548, 38968, 39392, 39821, 40255, 40693, 41136, 41584, 42037, 42495, 42958,
    43425, 43898, 44376, 44859, 45348, 45842, 46341, 46846, 47356, 47871, 48393, 48920, 49452,
    49991, 50535, 51085, 51642, 52204, 52773, 53347, 53928, 54515, 55109, 55709, 56316, 56929,
    57549, 58176, 58809, 59449, 60097, 60751, 61413, 62081, 62757, 63441, 64132, 64830};

// Whole quotients below 2^20 of one divisor: a product, put right by one where it was rounded.
class Divisor {
 public:
  explicit Divisor(uint64_t divisor)
      : divisor_(divisor), inverse_(1 / static_cast<double>(divisor)) {}
  uint64_t quotient(uint64_t x) const {
    const auto q = static_cast<uint64_t>(static_cast<double>(static_cast<int64_t>(x)) * inverse_);
    if (q * divisor_ > x) return q - 1;
    return x - q * divisor_ >= divisor_ ? q + 1 : q;
  }

 private:
  uint64_t divisor_;
  double inverse_;
};

}  // namespace

uint64_t weight_of_level(int64_t level) {
  return static_cast<uint64_t>(kExp2[level & 63]) << (level >> 6);
}

uint64_t escape_code(const SymbolTable& table, int64_t value) {
  const int64_t end = table.base + table.symbols, last = int64_t{table.base} - 1;
  if (value >= end) return 2 * (static_cast<uint64_t>(value - end) >> 1) + 1;
  return 2 * (static_cast<uint64_t>(last - value) >> 1);
}

int64_t escape_value(const SymbolTable& table, bool odd, uint64_t code) {
  const int64_t end = table.base + table.symbols, last = int64_t{table.base} - 1;
  const auto distance = static_cast<int64_t>(code & ~uint64_t{1});
  const int64_t parity = odd ? 1 : 0;
  if ((code & 1) != 0) return end + distance + ((end ^ parity) & 1);
  return last - distance - ((last ^ parity) & 1);
}

bool share_slots(const std::vector<uint64_t>& weights, int precision,
                 std::vector<uint32_t>& frequencies) {
  const uint64_t slots = uint64_t{1} << precision;
  frequencies.assign(weights.size(), 0);
  uint64_t sum = 0, present = 0;
  for (const uint64_t w : weights) {
    sum += w;
    present += w > 0 ? 1 : 0;
  }
  if (present == 0 || present > slots) return false;
  // One slot for each; the others in proportion to what each weight lies above one slot's worth, so
  // that frequent symbols get their share of 2^precision and do not pay for the rare ones' slots.
  const uint64_t slot = sum >> precision;
  uint64_t excess = 0;
  for (const uint64_t w : weights) excess += w > slot ? w - slot : 0;
  // Rounding the running sum, not each share, makes the total right without a repair. There is an
  // excess unless every slot is taken.
  const Divisor by_excess(std::max<uint64_t>(excess, 1));
  uint64_t before = 0, running = 0;
  for (size_t s = 0; s < weights.size(); ++s) {
    if (weights[s] == 0) continue;
    running += weights[s] > slot ? weights[s] - slot : 0;
    const uint64_t after = by_excess.quotient(running * (slots - present));
    frequencies[s] = static_cast<uint32_t>(1 + after - before);
    before = after;
  }
  return true;
}

bool expand_table(const TableCode& code, int precision, SymbolTable& table) {
  const auto alphabet = static_cast<size_t>(code.alphabet());
  table.base = code.base;
  table.symbols = code.symbols;
  table.escape = code.escape;
  if (alphabet == 1) {
    table.frequencies = {1U << precision};
    return true;
  }
  const auto level_of = [&](int32_t knot) { return static_cast<int64_t>(knot) << code.shift; };

  std::vector<uint64_t> weights(alphabet, 0);
  for (int64_t v = 0; v < code.symbols; ++v) {
    const int64_t i = v >> code.spacing, offset = v & ((int64_t{1} << code.spacing) - 1);
    int64_t level = 0;
    if (code.spacing == 0) {
      if (code.knots[static_cast<size_t>(i)] == 0) continue;  // absent
      level = level_of(code.knots[static_cast<size_t>(i)] - 1);
    } else {
      level = level_of(code.knots[static_cast<size_t>(i)]) << code.spacing;
      if (offset > 0) {
        level += offset * (level_of(code.knots[static_cast<size_t>(i) + 1]) -
                           level_of(code.knots[static_cast<size_t>(i)]));
      }
      level >>= code.spacing;
    }
    if (level < 0 || level > kMaxLevel) return false;
    weights[static_cast<size_t>(v)] = weight_of_level(level);
  }
  if (code.escape) {
    const int64_t level = level_of(code.escape_knot);
    if (level < 0 || level > kMaxLevel) return false;
    weights[alphabet - 2] = weights[alphabet - 1] = weight_of_level(level);
  }
  return share_slots(weights, precision, table.frequencies);
}

}  // namespace watersic
