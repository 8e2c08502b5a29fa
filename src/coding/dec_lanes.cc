// The inner loop in vectors of 32-bit lanes: 16 of them (AVX-512), 8 (AVX2) or 4 (all others).
// Vectors whose size is not known here would gain nothing.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
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
// word numbered by the lower lanes in the mask, others get zero (an index of 128). A word takes
// `width` bytes of the 16.
struct alignas(16) Spread {
  std::array<uint8_t, 16> bytes;
};
template <unsigned kLanes>
constexpr std::array<Spread, 1U << kLanes> spreads() {
  std::array<Spread, 1U << kLanes> table{};
  for (unsigned mask = 0; mask < table.size(); ++mask) {
    table[mask].bytes.fill(128);
    uint8_t next = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      table[mask].bytes[16 / kLanes * lane] = next++;
      table[mask].bytes[16 / kLanes * lane + 1] = next++;
    }
  }
  return table;
}
inline constexpr auto kSpread4 = spreads<4>();
inline constexpr auto kSpread8 = spreads<8>();

}  // namespace watersic
#endif

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

namespace hn = hwy::HWY_NAMESPACE;
template <size_t kLanes>
using Tag = hn::FixedTag<uint32_t, kLanes>;
template <size_t kLanes>
using U32 = hn::Vec<Tag<kLanes>>;
template <size_t kLanes>
using Mask = hn::Mask<Tag<kLanes>>;

// The table's entries at these indices. Loads one by one: the gather of AVX2 was slower on Zen 3,
// and Intel's has a slow one since the microcode against Gather Data Sampling.
HWY_INLINE U32<4> Gather(const uint32_t* entries, U32<4> index) {
  using Four = uint32_t __attribute__((vector_size(16)));
  constexpr uint64_t kLow = 0xFFFFFFFF;
  const auto pairs = hn::BitCast(hn::FixedTag<uint64_t, 2>(), index);
  const uint64_t low = hn::GetLane(pairs), high = hn::ExtractLane(pairs, 1);
  const Four found = {entries[low & kLow], entries[low >> 32], entries[high & kLow],
                      entries[high >> 32]};
  return U32<4>{reinterpret_cast<decltype(index.raw)>(found)};
}
template <class V>
HWY_INLINE V Gather(const uint32_t* entries, V index) {
  const hn::DFromV<V> d;
  const hn::Half<decltype(d)> half;
  return hn::Combine(d, Gather(entries, hn::UpperHalf(half, index)),
                     Gather(entries, hn::LowerHalf(half, index)));
}

// Words of the stream, one to each lane in the mask in turn, and zero to the others; `next` goes
// beyond them. No more is read than a word for each lane.
HWY_INLINE U32<4> Take(const uint8_t*& next, Mask<4> mask) {
  uint8_t bits[8] = {};
  hn::StoreMaskBits(Tag<4>(), mask, bits);
  const size_t which = bits[0];
  const auto spread = hn::Load(hn::FixedTag<uint8_t, 16>(), kSpread4[which].bytes.data());
  const auto words = hn::LoadU(hn::FixedTag<uint8_t, 8>(), next);
  next += 2 * (0x4332322132212110U >> 4 * which & 7);  // their number
  return hn::BitCast(Tag<4>(), hn::TableLookupBytesOr0(words, spread));
}

#if HWY_TARGET <= HWY_AVX2
HWY_INLINE U32<8> Take(const uint8_t*& next, Mask<8> mask) {
  uint8_t bits[8] = {};
  hn::StoreMaskBits(Tag<8>(), mask, bits);
  const size_t which = bits[0];
  const hn::FixedTag<uint8_t, 16> d8;
  const auto spread = hn::Load(d8, kSpread8[which].bytes.data());
  const auto words = hn::TableLookupBytesOr0(hn::LoadU(d8, next), spread);
  next += 2 * static_cast<size_t>(std::popcount(which));
  return hn::PromoteTo(Tag<8>(), hn::BitCast(hn::FixedTag<uint16_t, 8>(), words));
}
#endif

#if HWY_TARGET <= HWY_AVX3
HWY_INLINE U32<16> Take(const uint8_t*& next, Mask<16> mask) {
  const auto words =
      hn::BitCast(hn::FixedTag<uint16_t, 16>(), hn::LoadU(hn::FixedTag<uint8_t, 32>(), next));
  next += 2 * static_cast<size_t>(std::popcount(mask.raw));
  return U32<16>{_mm512_maskz_expand_epi32(mask.raw, hn::PromoteTo(Tag<16>(), words).raw)};
}
#endif

template <size_t kLanes, bool kTrellis, bool kRows>
int64_t Rows(const std::byte* words, const uint32_t* HWY_RESTRICT entries, Lanes& lanes,
             int32_t* HWY_RESTRICT out, int64_t stride, int64_t first, int64_t rows) {
  const Tag<kLanes> d;
  const hn::FixedTag<int32_t, kLanes> di;
  const auto* next = reinterpret_cast<const uint8_t*>(words);
  const auto one = hn::Set(d, 1);
  const int precision = lanes.precision, active = lanes.active;
  const auto mask = hn::Set(d, (1U << precision) - 1);
  const auto base = hn::Set(di, lanes.base);
  // What a path's next state takes from g0 and g1, for each q + 2 * (parity of k), the lowest two
  // bits of m. States have 8 bits: bytes, of which the lane's upper three are to give zero.
  const hn::FixedTag<uint8_t, 4 * kLanes> d8;
  alignas(16)
      const uint8_t steps[16] = {0, static_cast<uint8_t>(lanes.g0), static_cast<uint8_t>(lanes.g1),
                                 static_cast<uint8_t>(lanes.g0 ^ lanes.g1)};
  const auto step = hn::LoadDup128(d8, steps);
  const auto three = hn::Set(d, 3), zeros = hn::Set(d, 0x80808000);
  constexpr int64_t kAhead = 8;
  for (int64_t r = 0; r < rows; ++r) {
    int32_t* row = out + r * stride;
    if (r + kAhead < rows) {
      for (int l = 0; l < active; l += 16) __builtin_prefetch(row + kAhead * stride + l, 1);
    }
    for (int l = 0; l < active; l += static_cast<int>(kLanes)) {
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
      const auto entry = Gather(entries, slot);
      const auto upper = hn::ShiftRightSame(entry, precision);
      auto value = hn::Add(hn::BitCast(di, hn::ShiftRightSame(upper, precision)), base);
      x = hn::Add(hn::Mul(hn::Add(hn::And(upper, mask), one), hn::ShiftRightSame(x, precision)),
                  hn::And(entry, mask));
      if constexpr (kTrellis) {
        value = hn::Add(hn::Add(value, value), hn::BitCast(di, q));
        const auto which = hn::Or(hn::And(hn::BitCast(d, value), three), zeros);
        path = hn::Xor(hn::ShiftRight<1>(path),
                       hn::BitCast(d, hn::TableLookupBytesOr0(step, hn::BitCast(d8, which))));
        hn::Store(path, d, lanes.path + l);
      }
      hn::StoreU(value, di, row + l);
      const auto low = hn::Eq(hn::ShiftRight<16>(x), hn::Zero(d));  // below kLowerBound
      x = hn::IfThenElse(low, hn::Or(hn::ShiftLeft<16>(x), Take(next, low)), x);
      hn::Store(x, d, lanes.states + l);
    }
  }
  return (next - reinterpret_cast<const uint8_t*>(words)) / 2;
}

template <size_t kLanes>
int64_t Rows(const std::byte* words, const uint32_t* entries, Lanes& lanes, int32_t* out,
             int64_t stride, int64_t first, int64_t rows) {
  const auto decode =
      lanes.trellis
          ? (lanes.row != nullptr ? Rows<kLanes, true, true> : Rows<kLanes, true, false>)
          : (lanes.row != nullptr ? Rows<kLanes, false, true> : Rows<kLanes, false, false>);
  return decode(words, entries, lanes, out, stride, first, rows);
}

int64_t DecodeRows(const std::byte* words, const uint32_t* entries, Lanes& lanes, int32_t* out,
                   int64_t stride, int64_t first, int64_t rows) {
#if HWY_TARGET <= HWY_AVX3
  if (lanes.active % 16 == 0) return Rows<16>(words, entries, lanes, out, stride, first, rows);
#endif
  constexpr int kLanes = HWY_TARGET <= HWY_AVX2 ? 8 : 4;
  if (lanes.active % kLanes != 0) return -1;
  return Rows<kLanes>(words, entries, lanes, out, stride, first, rows);
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
  return HWY_DYNAMIC_DISPATCH(DecodeRows)(words, entries, lanes, out, stride, first, rows);
}

}  // namespace watersic
#endif
