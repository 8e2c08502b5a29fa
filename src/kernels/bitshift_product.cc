// Products for one token: codes are made of the bits as they come from memory.
// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#define HWY_WANT_AVX3_DL
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bitshift_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/bitshift_product.h"
#include "kernels/bitshift_units-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if !WATERSIC_TILE_VECTORS

void ProductOfOne(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                  float* out) {
  bitshift_product_scalar(M, tile, x, token, 1, out);
}

#else

constexpr int64_t kAhead = 4096;  // bytes: of what is fetched before the hardware foresees it

// As many columns at once as a vector holds.
using DWide = hn::ScalableTag<uint8_t>;
using DWide32 = hn::Repartition<int32_t, DWide>;
using VWide32 = hn::Vec<DWide32>;
constexpr int64_t kWide = HWY_MAX_BYTES / 2;
static_assert(BitshiftBlock::kVector % kWide == 0 && kBitshiftPadding >= HWY_MAX_BYTES);

HWY_INLINE VWide32 Added(VWide32 total, Codes16<DWide> codes, Codes16<DWide> x) {
#if HWY_TARGET == HWY_AVX3_DL
  asm("vpdpwssd %2, %1, %0" : "+v"(total.raw) : "v"(codes.raw), "v"(x.raw));
  return total;
#elif HWY_TARGET == HWY_AVX3
  return hn::Add(total, VWide32{_mm512_madd_epi16(codes.raw, x.raw)});
#else
  // It is the product that is pinned (Pin): GCC copies a pinned sum once more.
  V32 p = AddPairs(hn::Zero(D32()), codes, x);
  Pin(p);
  return hn::Add(total, p);
#endif
}

// In each block of 128 bits: lane i is the sum of vector i's.
HWY_INLINE VWide32 SumsOfFour(VWide32 a, VWide32 b, VWide32 c, VWide32 d) {
  const DWide32 d32;
  const hn::Repartition<int64_t, DWide32> d64;
  const auto halves = [&](VWide32 u, VWide32 v) HWY_ATTR {
    return hn::BitCast(d64, hn::Add(hn::InterleaveLower(d32, u, v), hn::InterleaveUpper(d32, u, v)));
  };
  const auto ab = halves(a, b), cd = halves(c, d);
  return hn::Add(hn::BitCast(d32, hn::InterleaveLower(d64, ab, cd)),
                 hn::BitCast(d32, hn::InterleaveUpper(d64, ab, cd)));
}
HWY_INLINE V32 Narrow(VWide32 v) {
#if HWY_MAX_BYTES > 32
  return hn::Add(hn::LowerHalf(D32(), v), hn::UpperHalf(D32(), v));
#else
  return v;
#endif
}

// Where the words of a block of columns lie: number 0 is the one before the tile's.
struct WordRows {
  const uint8_t *before, *first;
  int64_t step;
  HWY_INLINE const uint8_t* operator[](int64_t number) const {
    return number == 0 ? before : first + (number - 1) * step;
  }
};

// The codes of a row for some columns.
template <int kRate, int64_t kRow>
HWY_INLINE Codes16<DWide> CodesOf(const Decoder<DWide>& decoder, const WordRows& words,
                                  int64_t column) {
  constexpr int64_t kBit = bit_after(kRate, kRow);
  constexpr int kShift = kBit % 16;
  const DWide d;
  auto window = ReadWords(d, words[kBit / 16 - 1] + 2 * column);
  if constexpr (kShift != 0)
    window = Window<kShift>(window, ReadWords(d, words[kBit / 16] + 2 * column));
  return decoder.Codes(kRate, window, kRow);
}

// Rows [kRow, kRow + 8) of a block. A variable for each sum: arrays of them end up in memory.
template <int kRate, int64_t kRow>
HWY_INLINE void EightRows(const Decoder<DWide>& decoder, const BitshiftBlock& block,
                          const BitshiftChunks& chunks, const Token& token) {
  const WordRows words{chunks.words.before, chunks.words.first, chunks.words.step};
  const uint8_t* HWY_RESTRICT q = token.q;
  const int64_t share = block.columns * chunk_bytes(kRate) * 8 / kTileRows;
  for (int64_t at = 0; at < share; at += 64)
    __builtin_prefetch(words.first + kAhead + kRow / 8 * share + at);
  VWide32 t0 = hn::Zero(DWide32()), t1 = t0, t2 = t0, t3 = t0, t4 = t0, t5 = t0, t6 = t0, t7 = t0;
  for (int64_t i = 0; i < block.columns; i += kWide) {
    const auto x = hn::BitCast(hn::Repartition<int16_t, DWide>(), hn::LoadU(DWide(), q + 2 * i));
    t0 = Added(t0, CodesOf<kRate, kRow>(decoder, words, i), x);
    t1 = Added(t1, CodesOf<kRate, kRow + 1>(decoder, words, i), x);
    t2 = Added(t2, CodesOf<kRate, kRow + 2>(decoder, words, i), x);
    t3 = Added(t3, CodesOf<kRate, kRow + 3>(decoder, words, i), x);
    t4 = Added(t4, CodesOf<kRate, kRow + 4>(decoder, words, i), x);
    t5 = Added(t5, CodesOf<kRate, kRow + 5>(decoder, words, i), x);
    t6 = Added(t6, CodesOf<kRate, kRow + 6>(decoder, words, i), x);
    t7 = Added(t7, CodesOf<kRate, kRow + 7>(decoder, words, i), x);
  }
  const V32 low = Narrow(SumsOfFour(t0, t1, t2, t3)), high = Narrow(SumsOfFour(t4, t5, t6, t7));
  if constexpr (kLanes == 4) {
    AddTo(token, kRow, low, nullptr);
    AddTo(token, kRow + 4, high, nullptr);
  } else {
    const D32 d;
    AddTo(token, kRow,
          hn::Add(hn::ConcatLowerLower(d, high, low), hn::ConcatUpperUpper(d, high, low)), nullptr);
  }
}

template <int kRate, size_t... kEight>
void AllRows(const Decoder<DWide>& decoder, const BitshiftBlock& block, const BitshiftChunks& chunks,
             const Token& token, std::index_sequence<kEight...> /*rows*/) {
  (EightRows<kRate, 8 * static_cast<int64_t>(kEight)>(decoder, block, chunks, token), ...);
}

void ProductOfOne(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                  float* out) {
  std::fill_n(out, kTileRows, 0.0F);
  const Decoder<DWide> decoder(M.memory);
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const BitshiftChunks chunks = M.chunks(tile, block);
    const Token part = PartOf(x, block, chunks.rate, static_cast<int64_t>(b), token, out);
    WithRate(chunks.rate, [&]<int kRate>() {
      AllRows<kRate>(decoder, block, chunks, part, std::make_index_sequence<kTileRows / 8>());
    });
  }
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(ProductOfOne);

void bitshift_product(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x,
                      int64_t token, int64_t tokens, float* out) {
  if (tokens == 1) {
    HWY_DYNAMIC_DISPATCH(ProductOfOne)(M, tile, x, token, out);
  } else {
    bitshift_batch_product(M, tile, x, token, tokens, out);
  }
}

}  // namespace watersic
#endif
