// What products with tiles are made of, for each target.
#if defined(WATERSIC_KERNELS_TILE_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WATERSIC_KERNELS_TILE_VECTORS_INL_H_
#undef WATERSIC_KERNELS_TILE_VECTORS_INL_H_
#else
#define WATERSIC_KERNELS_TILE_VECTORS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "kernels/tile_inputs.h"
#include "kernels/tiles.h"

// Targets without products of bytes take the scalar reference.
#undef WATERSIC_TILE_VECTORS
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
#define WATERSIC_TILE_VECTORS 0
#else
#define WATERSIC_TILE_VECTORS 1

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A unit of 32 bytes is one vector or two halves.
using D8 = hn::CappedTag<uint8_t, kUnitBytes>;
using D16 = hn::Repartition<int16_t, D8>;
using D32 = hn::Repartition<int32_t, D8>;
using DF = hn::Repartition<float, D8>;
using V8 = hn::Vec<D8>;
using V16 = hn::Vec<D16>;
using V32 = hn::Vec<D32>;
using VF = hn::Vec<DF>;
constexpr int64_t kBytes = HWY_MAX_BYTES < kUnitBytes ? HWY_MAX_BYTES : kUnitBytes;
constexpr int64_t kHalves = kUnitBytes / kBytes;
constexpr int64_t kLanes = kBytes / 4;  // rows
// A pair of columns in 16 bits, unit after unit.
constexpr int64_t kPairBytes = kTileUnits * kUnitBytes;

// The same four bytes of quantized inputs in every lane.
HWY_INLINE V32 Inputs(const uint8_t* q) {
  int32_t four = 0;
  std::memcpy(&four, q, 4);
  return hn::Set(D32(), four);
}

// sum += addend, in the register where the sum is: GCC would put off the additions of a loop to its
// end, and run out of registers, or copy each sum once more.
HWY_INLINE void AddInPlace(V32& sum, V32 addend) {
#if HWY_ARCH_X86 && HWY_MAX_BYTES >= 32 && HWY_COMPILER_GCC
  asm("vpaddd %1, %0, %0" : "+v"(sum.raw) : "v"(addend.raw));
#elif HWY_ARCH_X86 && HWY_COMPILER_GCC
  asm("paddd %1, %0" : "+x"(sum.raw) : "x"(addend.raw));
#else
  sum = hn::Add(sum, addend);
#endif
}
// Keeps a sum in a register, at the price of a copy: for other sums.
template <class V>
HWY_INLINE void Pin(V& sum) {
#if HWY_ARCH_X86 && HWY_COMPILER_GCC
  asm("" : "+x"(sum.raw));
#else
  (void)sum;
#endif
}

// Sums of the products of pairs in 16 bits.
HWY_INLINE V32 PairProducts(V16 w, V16 x) {
#if HWY_ARCH_X86 && HWY_MAX_BYTES >= 32
  return V32{_mm256_madd_epi16(w.raw, x.raw)};
#elif HWY_ARCH_X86
  return V32{_mm_madd_epi16(w.raw, x.raw)};
#elif HWY_ARCH_ARM
  const int32x4_t low = vmull_s16(vget_low_s16(w.raw), vget_low_s16(x.raw));
  const int32x4_t high = vmull_s16(vget_high_s16(w.raw), vget_high_s16(x.raw));
  return V32(vpaddq_s32(low, high));
#else
#error "a target without products of pairs"
#endif
}
HWY_INLINE V32 AddPairs(V32 sums, V16 w, V16 x) {
#if HWY_TARGET == HWY_AVX3_DL
  // Highway lets GCC know of fewer instructions than this target has.
  asm("vpdpwssd %2, %1, %0" : "+v"(sums.raw) : "v"(w.raw), "v"(x.raw));
#else
  AddInPlace(sums, PairProducts(w, x));
#endif
  return sums;
}

// A token's part in a block.
struct Token {
  const uint8_t* q;
  float* out;  // of the tile's rows
  float scale;
  int32_t offset;
};

// Of block number b; `out` of this token.
template <class Block>
HWY_INLINE Token PartOf(const QuantizedInputs& x, const Block& block, int64_t b, int64_t token,
                        float* out) {
  return {.q = x.at(block, token),
          .out = out,
          .scale = x.scale(b, token),
          .offset = x.offset(b, token)};
}

// out += the sums of rows [row, row + kLanes); `group`: the rows' scales, if any.
HWY_INLINE void AddTo(const Token& token, int64_t row, V32 sums, const float* group) {
  const DF df;
  auto scale = hn::Set(df, token.scale);
  if (group != nullptr) scale = hn::Mul(hn::LoadU(df, group + row), scale);
  const auto total = hn::ConvertTo(df, hn::Add(sums, hn::Set(D32(), token.offset)));
  float* out = token.out + row;
  hn::StoreU(hn::Add(hn::LoadU(df, out), hn::Mul(total, scale)), df, out);
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // WATERSIC_TILE_VECTORS
#endif  // WATERSIC_KERNELS_TILE_VECTORS_INL_H_
