// The inner loop in vectors of eight 32-bit lanes, for machines that gather (AVX2, AVX-512).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "coding/dec_lanes.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <array>
#include <bit>

#include "coding/dec_lanes.h"

#ifndef WATERSIC_DEC_LANES_ONCE
#define WATERSIC_DEC_LANES_ONCE
namespace watersic {

// Which bytes go where when the lanes of a mask take words from the stream in turn: lane i gets the
// word numbered by the lower lanes in the mask, others get zero (an index of 128).
struct alignas(16) Spread {
  std::array<uint8_t, 16> bytes;
};
inline constexpr std::array<Spread, 256> kSpread = [] {
  std::array<Spread, 256> table{};
  for (unsigned mask = 0; mask < 256; ++mask) {
    uint8_t next = 0;
    for (unsigned lane = 0; lane < 8; ++lane) {
      const bool takes = (mask >> lane & 1) != 0;
      table[mask].bytes[2 * lane] = takes ? next++ : 128;
      table[mask].bytes[2 * lane + 1] = takes ? next++ : 128;
    }
  }
  return table;
}();

}  // namespace watersic
#endif

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

int64_t DecodeRows(const std::byte* words, const uint32_t* HWY_RESTRICT entries,
                   const LaneTables& lanes, int active, uint32_t* HWY_RESTRICT states,
                   int32_t* HWY_RESTRICT out, int64_t stride, int64_t rows) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::FixedTag<uint32_t, 8> d;
  const hn::FixedTag<int32_t, 8> di;
  const hn::FixedTag<uint16_t, 8> d16;
  const hn::FixedTag<uint8_t, 16> d8;
  const auto* next = reinterpret_cast<const uint8_t*>(words);
  const auto one = hn::Set(d, 1);
  const auto lower_bound = hn::Set(d, kLowerBound);
  constexpr int64_t kAhead = 8;
  for (int64_t r = 0; r < rows; ++r) {
    int32_t* row = out + r * stride;
    if (r + kAhead < rows) {
      for (int l = 0; l < active; l += 16) __builtin_prefetch(row + kAhead * stride + l, 1);
    }
    for (int l = 0; l < active; l += 8) {
      auto x = hn::Load(d, states + l);
      const auto mask = hn::Load(d, lanes.mask + l);
      const auto precision = hn::Load(d, lanes.precision + l);
      const auto slot = hn::Add(hn::And(x, mask), hn::Load(d, lanes.offset + l));
      const auto entry = hn::GatherIndex(d, entries, hn::BitCast(di, slot));
      const auto upper = hn::Shr(entry, precision);
      const auto symbol = hn::BitCast(di, hn::Shr(upper, precision));
      hn::StoreU(hn::Add(symbol, hn::Load(di, lanes.base + l)), di, row + l);
      x = hn::Add(hn::Mul(hn::Add(hn::And(upper, mask), one), hn::Shr(x, precision)),
                  hn::And(entry, mask));
      const auto low = hn::Lt(x, lower_bound);
      uint8_t bits[8] = {};
      hn::StoreMaskBits(d, low, bits);
      const auto spread = hn::Load(d8, kSpread[bits[0]].bytes.data());
      const auto taken = hn::TableLookupBytesOr0(hn::LoadU(d8, next), spread);
      const auto word = hn::PromoteTo(d, hn::BitCast(d16, taken));
      x = hn::IfThenElse(low, hn::Or(hn::ShiftLeft<16>(x), word), x);
      hn::Store(x, d, states + l);
      next += 2 * std::popcount(bits[0]);
    }
  }
  return (next - reinterpret_cast<const uint8_t*>(words)) / 2;
#else
  static_cast<void>(words), static_cast<void>(entries), static_cast<void>(lanes);
  static_cast<void>(active), static_cast<void>(states), static_cast<void>(out);
  static_cast<void>(stride), static_cast<void>(rows);
  return -1;
#endif
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(DecodeRows);

int64_t decode_rows_vector(const std::byte* words, const uint32_t* entries, const LaneTables& lanes,
                           int active, uint32_t* states, int32_t* out, int64_t stride,
                           int64_t rows) {
  if (active % 8 != 0) return -1;
  return HWY_DYNAMIC_DISPATCH(DecodeRows)(words, entries, lanes, active, states, out, stride, rows);
}

}  // namespace watersic
#endif
