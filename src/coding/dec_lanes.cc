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

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL

namespace hn = hwy::HWY_NAMESPACE;
using Entries = hn::Vec<hn::FixedTag<uint32_t, 8>>;

// Highway's gather leaves its destination undefined, and the hardware then waits for whatever was
// in that register: here often for the lanes before, which halves the speed. So the destination is
// zeroed, which the compiler leaves out unless it does not know that `all` selects every lane.
HWY_INLINE Entries Gather(const uint32_t* entries, hn::Vec<hn::FixedTag<int32_t, 8>> index,
                          __m256i all) {
  return Entries{_mm256_mask_i32gather_epi32(
      _mm256_setzero_si256(), reinterpret_cast<const int*>(entries), index.raw, all, 4)};
}

template <bool kTrellis, bool kRows>
int64_t Rows(const std::byte* words, const uint32_t* HWY_RESTRICT entries, Lanes& lanes,
             int32_t* HWY_RESTRICT out, int64_t stride, int64_t first, int64_t rows) {
  const hn::FixedTag<uint32_t, 8> d;
  const hn::FixedTag<int32_t, 8> di;
  const hn::FixedTag<uint16_t, 8> d16;
  const hn::FixedTag<uint8_t, 16> d8;
  const auto* next = reinterpret_cast<const uint8_t*>(words);
  const auto one = hn::Set(d, 1);
  const auto lower_bound = hn::Set(d, kLowerBound);
  const int precision = lanes.precision, active = lanes.active;
  const auto mask = hn::Set(d, (1U << precision) - 1);
  const auto base = hn::Set(di, lanes.base);
  const auto g0 = hn::Set(d, lanes.g0), g1 = hn::Set(d, lanes.g1);
  __m256i all = _mm256_set1_epi32(-1);
  asm("" : "+x"(all));
  constexpr int64_t kAhead = 8;
  for (int64_t r = 0; r < rows; ++r) {
    int32_t* row = out + r * stride;
    if (r + kAhead < rows) {
      for (int l = 0; l < active; l += 16) __builtin_prefetch(row + kAhead * stride + l, 1);
    }
    for (int l = 0; l < active; l += 8) {
      auto x = hn::Load(d, lanes.states + l);
      auto slot = hn::And(x, mask);
      if constexpr (kRows) {
        const auto wanted =
            hn::Add(hn::Load(di, lanes.column + l), hn::Set(di, lanes.row[first + r]));
        const auto c = hn::Max(hn::Zero(di), hn::Min(wanted, hn::Load(di, lanes.top + l)));
        slot = hn::Add(slot, hn::ShiftLeftSame(hn::BitCast(d, c), lanes.class_shift));
      } else {
        slot = hn::Add(slot, hn::Load(d, lanes.offset + l));
      }
      auto path = hn::Zero(d), q = hn::Zero(d);
      if constexpr (kTrellis) {
        path = hn::Load(d, lanes.path + l);
        q = hn::And(path, one);
        slot = hn::Add(slot, hn::ShiftLeftSame(q, precision));
      }
      const auto entry = Gather(entries, hn::BitCast(di, slot), all);
      const auto upper = hn::ShiftRightSame(entry, precision);
      auto value = hn::Add(hn::BitCast(di, hn::ShiftRightSame(upper, precision)), base);
      x = hn::Add(hn::Mul(hn::Add(hn::And(upper, mask), one), hn::ShiftRightSame(x, precision)),
                  hn::And(entry, mask));
      if constexpr (kTrellis) {
        const auto odd = hn::And(hn::BitCast(d, value), one);
        path = hn::Xor(hn::ShiftRight<1>(path), hn::Xor(hn::And(hn::Sub(hn::Zero(d), q), g0),
                                                        hn::And(hn::Sub(hn::Zero(d), odd), g1)));
        hn::Store(path, d, lanes.path + l);
        value = hn::Add(hn::Add(value, value), hn::BitCast(di, q));
      }
      hn::StoreU(value, di, row + l);
      const auto low = hn::Lt(x, lower_bound);
      uint8_t bits[8] = {};
      hn::StoreMaskBits(d, low, bits);
      const auto spread = hn::Load(d8, kSpread[bits[0]].bytes.data());
      const auto taken = hn::TableLookupBytesOr0(hn::LoadU(d8, next), spread);
      const auto word = hn::PromoteTo(d, hn::BitCast(d16, taken));
      x = hn::IfThenElse(low, hn::Or(hn::ShiftLeft<16>(x), word), x);
      hn::Store(x, d, lanes.states + l);
      next += 2 * std::popcount(bits[0]);
    }
  }
  return (next - reinterpret_cast<const uint8_t*>(words)) / 2;
}

int64_t DecodeRows(const std::byte* words, const uint32_t* entries, Lanes& lanes, int32_t* out,
                   int64_t stride, int64_t first, int64_t rows) {
  const auto decode = lanes.trellis
                          ? (lanes.row != nullptr ? Rows<true, true> : Rows<true, false>)
                          : (lanes.row != nullptr ? Rows<false, true> : Rows<false, false>);
  return decode(words, entries, lanes, out, stride, first, rows);
}

#else

int64_t DecodeRows(const std::byte* /*words*/, const uint32_t* /*entries*/, Lanes& /*lanes*/,
                   int32_t* /*out*/, int64_t /*stride*/, int64_t /*first*/, int64_t /*rows*/) {
  return -1;
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(DecodeRows);

int64_t decode_rows_vector(const std::byte* words, const uint32_t* entries, Lanes& lanes,
                           int32_t* out, int64_t stride, int64_t first, int64_t rows) {
  if (lanes.active % 8 != 0) return -1;
  return HWY_DYNAMIC_DISPATCH(DecodeRows)(words, entries, lanes, out, stride, first, rows);
}

}  // namespace watersic
#endif
