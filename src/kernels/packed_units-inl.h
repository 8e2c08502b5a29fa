// What the packed products are made of, for each target: a unit unpacked into bytes, and sums of
// products with it.
#if defined(WATERSIC_KERNELS_PACKED_UNITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WATERSIC_KERNELS_PACKED_UNITS_INL_H_
#undef WATERSIC_KERNELS_PACKED_UNITS_INL_H_
#else
#define WATERSIC_KERNELS_PACKED_UNITS_INL_H_
#endif

#include <hwy/highway.h>

#include <utility>

#include "kernels/packed_inputs.h"
#include "kernels/packed_matrix.h"
#include "kernels/tile_vectors-inl.h"

#if WATERSIC_TILE_VECTORS
HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

template <int kShift, int kMask>
HWY_INLINE V8 Bits(V8 v) {
  const D8 d8;
  const hn::Repartition<uint16_t, D8> d16;
  if constexpr (kShift > 0) v = hn::BitCast(d8, hn::ShiftRight<kShift>(hn::BitCast(d16, v)));
  if constexpr (kShift < 0) v = hn::BitCast(d8, hn::ShiftLeft<-kShift>(hn::BitCast(d16, v)));
  return hn::And(v, hn::Set(d8, static_cast<uint8_t>(kMask)));
}

// Half of unit kUnit of a quad of a width; `quad` points to the half of its first vector.
template <int kWidth, int kUnit>
HWY_INLINE V8 Unit(const uint8_t* HWY_RESTRICT quad) {
  const D8 d;
  V8 out = hn::Zero(d);
  constexpr bool kFour = (kWidth & 4) != 0, kTwo = (kWidth & 2) != 0, kOne = (kWidth & 1) != 0;
  constexpr int kFromTwo = kFour ? 4 : 0, kFromOne = kFromTwo + (kTwo ? 2 : 0);
  if constexpr (kFour) out = Bits<kUnit / 4 * 4, 15>(hn::LoadU(d, quad + kUnit % 4 * kUnitBytes));
  if constexpr (kTwo) {
    const auto* plane = quad + (kFour ? 4 : 0) * kUnitBytes;
    const V8 bits =
        Bits<kUnit / 2 * 2 - kFromTwo, 3 << kFromTwo>(hn::LoadU(d, plane + kUnit % 2 * kUnitBytes));
    out = kFour ? hn::Or(out, bits) : bits;
  }
  if constexpr (kOne) {
    const auto* plane = quad + ((kFour ? 4 : 0) + (kTwo ? 2 : 0)) * kUnitBytes;
    const V8 bits = Bits<kUnit - kFromOne, 1 << kFromOne>(hn::LoadU(d, plane));
    out = kFour || kTwo ? hn::Or(out, bits) : bits;
  }
  return out;
}

// Calls f(unit's index, unit) for all units of a quad, a half of each as in Unit.
template <int kWidth, class F>
HWY_INLINE void ForEachUnit(const uint8_t* HWY_RESTRICT quad, const F& f) {
  [&]<size_t... kI>(std::index_sequence<kI...>) {
    (f(kI, Unit<kWidth, static_cast<int>(kI)>(quad)), ...);
  }(std::make_index_sequence<kTileUnits>());
}

// A unit's columns 0 and 2, and 1 and 3, in 16 bits.
HWY_INLINE V16 EvenColumns(V8 w) {
  return hn::And(hn::BitCast(D16(), w), hn::Set(D16(), int16_t{255}));
}
HWY_INLINE V16 OddColumns(V8 w) {
  const hn::Repartition<uint16_t, D8> d;
  return hn::BitCast(D16(), hn::ShiftRight<8>(hn::BitCast(d, w)));
}

// Sums of products of unsigned w with signed x in bytes, made of pairs in 16 bits, of which
// only so many fit.
using Sums = V16;
HWY_INLINE Sums AddProducts(Sums sums, V8 w, V8 x) {
#if HWY_ARCH_X86 && HWY_MAX_BYTES >= 32
  return hn::Add(sums, Sums{_mm256_maddubs_epi16(w.raw, x.raw)});
#elif HWY_ARCH_X86
  return hn::Add(sums, Sums{_mm_maddubs_epi16(w.raw, x.raw)});
#elif HWY_ARCH_ARM
  const int8x16_t a = vreinterpretq_s8_u8(w.raw), b = vreinterpretq_s8_u8(x.raw);
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  const int16x8_t high = vmull_s8(vget_high_s8(a), vget_high_s8(b));
  return hn::Add(sums, Sums(vpaddq_s16(low, high)));
#else
#error "a target without products of bytes"
#endif
}
HWY_INLINE V32 Widened(Sums sums) { return PairProducts(sums, hn::Set(D16(), int16_t{1})); }
// Quads whose pairs of products fit into 16 bits.
HWY_INLINE int SafeQuads(const PackedBlock& block) {
  return INT16_MAX / (2 * block.limit() * ((1 << block.width) - 1));
}
HWY_INLINE Sums ZeroSums() { return hn::BitCast(hn::DFromV<Sums>(), hn::Zero(D32())); }

HWY_INLINE const float* Group(const PackedMatrix& M, int64_t tile, const PackedBlock& block) {
  return M.groups == 0 ? nullptr
                       : M.group_scale.data() + (tile * M.groups + block.group) * kTileRows;
}

// f.operator()<width>().
template <class F>
HWY_INLINE void WithWidth(int width, const F& f) {
  switch (width) {
    case 1:
      return f.template operator()<1>();
    case 2:
      return f.template operator()<2>();
    case 3:
      return f.template operator()<3>();
    case 4:
      return f.template operator()<4>();
    case 5:
      return f.template operator()<5>();
    case 6:
      return f.template operator()<6>();
    default:
      return f.template operator()<7>();
  }
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // WATERSIC_TILE_VECTORS
#endif  // WATERSIC_KERNELS_PACKED_UNITS_INL_H_
