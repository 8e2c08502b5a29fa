// The products in vectors: rows are lanes, units are multiplied with four inputs at a time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kernels/packed_product.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

void ProductQ(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
              int64_t tokens, float* out) {
  packed_product_scalar(M, tile, x, token, tokens, out);
}
void ProductF(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
              int64_t tokens, float* out) {
  packed_product_scalar(M, tile, x, token, tokens, out);
}

#else

namespace hn = hwy::HWY_NAMESPACE;

// A unit of 32 bytes is one vector or two halves.
using D8 = hn::CappedTag<uint8_t, kUnitBytes>;
using D16 = hn::Repartition<int16_t, D8>;
using D32 = hn::Repartition<int32_t, D8>;
using DF = hn::Repartition<float, D8>;
using V8 = hn::Vec<D8>;
using V32 = hn::Vec<D32>;
using VF = hn::Vec<DF>;
constexpr int64_t kBytes = HWY_MAX_BYTES < kUnitBytes ? HWY_MAX_BYTES : kUnitBytes;
constexpr int64_t kHalves = kUnitBytes / kBytes;
constexpr int64_t kLanes = kBytes / 4;  // rows

// Sums of products of unsigned w (below 2^7) with signed x. On most machines they are made of
// pairs in 16 bits, of which only so many fit.
#if HWY_TARGET == HWY_AVX3_DL
using Sums = V32;
HWY_INLINE Sums ZeroSums() { return hn::Zero(D32()); }
HWY_INLINE Sums AddProducts(Sums sums, V8 w, V8 x) {
  return Sums{_mm256_dpbusd_epi32(sums.raw, w.raw, x.raw)};
}
HWY_INLINE V32 Widened(Sums sums) { return sums; }
HWY_INLINE int SafeQuads(const PackedBlock& block) { return block.quads; }
#else
using Sums = hn::Vec<D16>;
HWY_INLINE Sums ZeroSums() { return hn::Zero(D16()); }
#if HWY_ARCH_X86 && HWY_MAX_BYTES >= 32
HWY_INLINE Sums AddProducts(Sums sums, V8 w, V8 x) {
  return hn::Add(sums, Sums{_mm256_maddubs_epi16(w.raw, x.raw)});
}
HWY_INLINE V32 Widened(Sums sums) { return V32{_mm256_madd_epi16(sums.raw, _mm256_set1_epi16(1))}; }
#elif HWY_ARCH_X86
HWY_INLINE Sums AddProducts(Sums sums, V8 w, V8 x) {
  return hn::Add(sums, Sums{_mm_maddubs_epi16(w.raw, x.raw)});
}
HWY_INLINE V32 Widened(Sums sums) { return V32{_mm_madd_epi16(sums.raw, _mm_set1_epi16(1))}; }
#elif HWY_ARCH_ARM
HWY_INLINE Sums AddProducts(Sums sums, V8 w, V8 x) {
  const int8x16_t a = vreinterpretq_s8_u8(w.raw), b = vreinterpretq_s8_u8(x.raw);
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  const int16x8_t high = vmull_s8(vget_high_s8(a), vget_high_s8(b));
  return hn::Add(sums, Sums(vpaddq_s16(low, high)));
}
HWY_INLINE V32 Widened(Sums sums) { return V32(vpaddlq_s16(sums.raw)); }
#else
#error "a target without products of bytes"
#endif
// Quads whose pairs of products fit into 16 bits.
HWY_INLINE int SafeQuads(const PackedBlock& block) {
  return INT16_MAX / (2 * block.limit * ((1 << block.width) - 1));
}
#endif

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

// Four inputs of a token, in every lane.
HWY_INLINE V8 Inputs(const int8_t* q) {
  int32_t four = 0;
  std::memcpy(&four, q, 4);
  return hn::BitCast(D8(), hn::Set(D32(), four));
}

constexpr int64_t kAhead = 2048;  // bytes

// What a block of a token needs.
struct Token {
  const int8_t* q;
  float* out;
  float scale;
  int32_t offset;
};

// out += of a unit's rows.
HWY_INLINE void AddTo(float* out, V32 sums, const Token& token, const float* group) {
  const DF df;
  const D32 d32;
  auto scale = hn::Set(df, token.scale);
  if (group != nullptr) scale = hn::Mul(hn::LoadU(df, group), scale);
  const auto total = hn::ConvertTo(df, hn::Add(sums, hn::Set(d32, token.offset)));
  hn::StoreU(hn::Add(hn::LoadU(df, out), hn::Mul(total, scale)), df, out);
}

// Units kFirst, kFirst + kStep, ... (kCount of them) of a block for kTokens tokens. Sums of all of
// them are in registers.
template <int kWidth, int kTokens, int kFirst, int kStep, int kCount>
HWY_INLINE void Units(const PackedBlock& block, const uint8_t* HWY_RESTRICT data,
                      const std::array<Token, kTokens>& tokens, const float* group, int64_t half) {
  const int safe = SafeQuads(block);
  const D32 d32;
  data += half * kBytes;
  std::array<V32, static_cast<size_t>(kCount * kTokens)> totals;
  for (auto& total : totals) total = hn::Zero(d32);
  for (int quad = 0; quad < block.quads; quad += safe) {
    std::array<Sums, static_cast<size_t>(kCount * kTokens)> sums;
    for (auto& sum : sums) sum = ZeroSums();
    const int end = std::min(block.quads, quad + safe);
    for (int k = quad; k < end; ++k) {
      const uint8_t* at = data + k * quad_bytes(kWidth);
      // A single token waits for memory: ahead of what the hardware foresees.
      if constexpr (kTokens == 1) {
        for (int64_t line = 0; line < quad_bytes(kWidth); line += 64)
          __builtin_prefetch(at + kAhead + line);
      }
      std::array<V8, kTokens> x;
      for (size_t t = 0; t < kTokens; ++t) x[t] = Inputs(tokens[t].q + 4 * k);
      [&]<size_t... kI>(std::index_sequence<kI...>) {
        (
            [&] {
              const V8 w = Unit<kWidth, kFirst + kStep* static_cast<int>(kI)>(at);
              for (size_t t = 0; t < kTokens; ++t)
                sums[kI * kTokens + t] = AddProducts(sums[kI * kTokens + t], w, x[t]);
            }(),
            ...);
      }(std::make_index_sequence<static_cast<size_t>(kCount)>());
    }
    for (size_t i = 0; i < sums.size(); ++i) totals[i] = hn::Add(totals[i], Widened(sums[i]));
  }
  for (size_t i = 0; i < static_cast<size_t>(kCount); ++i) {
    const int64_t row = 8 * (kFirst + kStep * static_cast<int64_t>(i)) + half * kLanes;
    for (size_t t = 0; t < kTokens; ++t)
      AddTo(tokens[t].out + row, totals[i * kTokens + t], tokens[t],
            group != nullptr ? group + row : nullptr);
  }
}

template <int kWidth, int kTokens>
void Block(const PackedBlock& block, const uint8_t* data, const std::array<Token, kTokens>& tokens,
           const float* group) {
  for (int64_t half = 0; half < kHalves; ++half) {
    // Eight sums at a time: registers for the rest.
    if constexpr (kTokens == 1) {
      Units<kWidth, 1, 0, 1, 8>(block, data, tokens, group, half);
    } else if constexpr (kTokens == 2) {
      Units<kWidth, 2, 0, 2, 4>(block, data, tokens, group, half);
      Units<kWidth, 2, 1, 2, 4>(block, data, tokens, group, half);
    } else {
      Units<kWidth, 4, 0, 4, 2>(block, data, tokens, group, half);
      Units<kWidth, 4, 1, 4, 2>(block, data, tokens, group, half);
      Units<kWidth, 4, 2, 4, 2>(block, data, tokens, group, half);
      Units<kWidth, 4, 3, 4, 2>(block, data, tokens, group, half);
    }
  }
}

const float* Group(const PackedMatrix& M, int64_t tile, const PackedBlock& block) {
  return M.groups == 0 ? nullptr
                       : M.group_scale.data() + (tile * M.groups + block.group) * kPackedRows;
}

template <int kTokens>
void Tokens(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
            float* out) {
  const uint8_t* data = M.tile(tile).data();
  std::array<Token, kTokens> tokens;
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    for (int64_t t = 0; t < kTokens; ++t) {
      const auto column = static_cast<int64_t>(b);
      tokens[static_cast<size_t>(t)] = {.q = x.q.row(token + t).data() + block.input,
                                        .out = out + t * kPackedRows,
                                        .scale = x.scale(token + t, column),
                                        .offset = x.offset(token + t, column)};
    }
    const float* group = Group(M, tile, block);
    const uint8_t* at = data + block.offset;
    switch (block.width) {
      case 1:
        Block<1, kTokens>(block, at, tokens, group);
        break;
      case 2:
        Block<2, kTokens>(block, at, tokens, group);
        break;
      case 3:
        Block<3, kTokens>(block, at, tokens, group);
        break;
      case 4:
        Block<4, kTokens>(block, at, tokens, group);
        break;
      case 5:
        Block<5, kTokens>(block, at, tokens, group);
        break;
      case 6:
        Block<6, kTokens>(block, at, tokens, group);
        break;
      default:
        Block<7, kTokens>(block, at, tokens, group);
        break;
    }
  }
}

void ProductQ(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
              int64_t tokens, float* out) {
  std::fill_n(out, tokens * kPackedRows, 0.0F);
  for (; tokens >= 4; tokens -= 4, token += 4, out += 4 * kPackedRows)
    Tokens<4>(M, tile, x, token, out);
  for (; tokens >= 2; tokens -= 2, token += 2, out += 2 * kPackedRows)
    Tokens<2>(M, tile, x, token, out);
  if (tokens > 0) Tokens<1>(M, tile, x, token, out);
}

// Float inputs, a token at a time: a unit's four columns are four multiplications of its rows.
template <int kWidth>
void FloatBlock(const PackedBlock& block, const uint8_t* data, const float* z, float offset,
                const float* group, float* out) {
  const D32 d32;
  const DF df;
  const auto low = hn::Set(d32, 255);
  for (int64_t half = 0; half < kHalves; ++half) {
    std::array<VF, kPackedUnits> sums;
    for (auto& sum : sums) sum = hn::Zero(df);
    for (int64_t k = 0; k < block.quads; ++k) {
      const uint8_t* at = data + half * kBytes + k * quad_bytes(kWidth);
      const std::array<VF, 4> x = {hn::Set(df, z[4 * k]), hn::Set(df, z[4 * k + 1]),
                                   hn::Set(df, z[4 * k + 2]), hn::Set(df, z[4 * k + 3])};
      [&]<size_t... kI>(std::index_sequence<kI...>) {
        (
            [&] {
              const auto w = hn::BitCast(d32, Unit<kWidth, static_cast<int>(kI)>(at));
              const auto f = [&](auto v) { return hn::ConvertTo(df, v); };
              const auto even = hn::Add(hn::Mul(f(hn::And(w, low)), x[0]),
                                        hn::Mul(f(hn::And(hn::ShiftRight<16>(w), low)), x[2]));
              const auto odd = hn::Add(hn::Mul(f(hn::And(hn::ShiftRight<8>(w), low)), x[1]),
                                       hn::Mul(f(hn::ShiftRight<24>(w)), x[3]));
              sums[kI] = hn::Add(sums[kI], hn::Add(even, odd));
            }(),
            ...);
      }(std::make_index_sequence<kPackedUnits>());
    }
    for (int64_t unit = 0; unit < kPackedUnits; ++unit) {
      const int64_t row = 8 * unit + half * kLanes;
      auto total = hn::Add(sums[static_cast<size_t>(unit)], hn::Set(df, offset));
      if (group != nullptr) total = hn::Mul(total, hn::LoadU(df, group + row));
      hn::StoreU(hn::Add(hn::LoadU(df, out + row), total), df, out + row);
    }
  }
}

void ProductF(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
              int64_t tokens, float* out) {
  std::fill_n(out, tokens * kPackedRows, 0.0F);
  const uint8_t* data = M.tile(tile).data();
  for (int64_t t = 0; t < tokens; ++t) {
    for (size_t b = 0; b < M.blocks.size(); ++b) {
      const PackedBlock& block = M.blocks[b];
      if (block.part > 0) continue;
      const float* z = x.z.row(token + t).data() + block.column;
      const float offset = x.offset(token + t, static_cast<int64_t>(b));
      const float* group = Group(M, tile, block);
      const uint8_t* at = data + block.offset;
      float* to = out + t * kPackedRows;
      switch (block.width) {
        case 1:
          FloatBlock<1>(block, at, z, offset, group, to);
          break;
        case 2:
          FloatBlock<2>(block, at, z, offset, group, to);
          break;
        case 3:
          FloatBlock<3>(block, at, z, offset, group, to);
          break;
        case 4:
          FloatBlock<4>(block, at, z, offset, group, to);
          break;
        case 5:
          FloatBlock<5>(block, at, z, offset, group, to);
          break;
        case 6:
          FloatBlock<6>(block, at, z, offset, group, to);
          break;
        default:
          FloatBlock<7>(block, at, z, offset, group, to);
          break;
      }
    }
  }
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(ProductQ);
HWY_EXPORT(ProductF);

void packed_product(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                    int64_t tokens, float* out) {
  HWY_DYNAMIC_DISPATCH(ProductQ)(M, tile, x, token, tokens, out);
}
void packed_product(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                    int64_t tokens, float* out) {
  HWY_DYNAMIC_DISPATCH(ProductF)(M, tile, x, token, tokens, out);
}

}  // namespace watersic
#endif
