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
#include <utility>

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

// In each block of 128 bits: lane i is the sum of vector i's.
HWY_INLINE V32 SumsOfFour(V32 a, V32 b, V32 c, V32 d) {
  const D32 d32;
  const hn::Repartition<int64_t, D8> d64;
  const auto halves = [&](V32 u, V32 v) HWY_ATTR {
    return hn::BitCast(d64,
                       hn::Add(hn::InterleaveLower(d32, u, v), hn::InterleaveUpper(d32, u, v)));
  };
  const auto ab = halves(a, b), cd = halves(c, d);
  return hn::Add(hn::BitCast(d32, hn::InterleaveLower(d64, ab, cd)),
                 hn::BitCast(d32, hn::InterleaveUpper(d64, ab, cd)));
}

// The codes of a row for some columns.
template <int kRate, int64_t kRow>
HWY_INLINE V16 CodesOf(const Decoder& decoder, const BitshiftWords& words, int64_t column) {
  constexpr int64_t kBit = bit_after(kRate, kRow);
  constexpr int kShift = kBit % 16;
  VU16 window = ReadWords(words.at(kBit / 16 - 1) + 2 * column);
  if constexpr (kShift != 0)
    window = Window<kShift>(window, ReadWords(words.at(kBit / 16) + 2 * column));
  return decoder.Codes(kRate, window, kRow);
}

// Rows [kRow, kRow + 8) of a block. A variable for each sum: arrays of them end up in memory.
template <int kRate, int64_t kRow>
HWY_INLINE void EightRows(const Decoder& decoder, const BitshiftBlock& block,
                          const BitshiftChunks& chunks, const Token& token) {
  const BitshiftWords words = chunks.words;
  const uint8_t* HWY_RESTRICT q = token.q;
  const int64_t share = block.columns * chunk_bytes(kRate) * 8 / kTileRows;
  for (int64_t at = 0; at < share; at += 64)
    __builtin_prefetch(words.first + kAhead + kRow / 8 * share + at);
  V32 t0 = hn::Zero(D32()), t1 = t0, t2 = t0, t3 = t0, t4 = t0, t5 = t0, t6 = t0, t7 = t0;
  for (int64_t i = 0; i < block.columns; i += kColumns) {
    const auto x = hn::BitCast(D16(), hn::LoadU(D8(), q + 2 * i));
    t0 = AddPairs(t0, CodesOf<kRate, kRow>(decoder, words, i), x);
    t1 = AddPairs(t1, CodesOf<kRate, kRow + 1>(decoder, words, i), x);
    t2 = AddPairs(t2, CodesOf<kRate, kRow + 2>(decoder, words, i), x);
    t3 = AddPairs(t3, CodesOf<kRate, kRow + 3>(decoder, words, i), x);
    t4 = AddPairs(t4, CodesOf<kRate, kRow + 4>(decoder, words, i), x);
    t5 = AddPairs(t5, CodesOf<kRate, kRow + 5>(decoder, words, i), x);
    t6 = AddPairs(t6, CodesOf<kRate, kRow + 6>(decoder, words, i), x);
    t7 = AddPairs(t7, CodesOf<kRate, kRow + 7>(decoder, words, i), x);
  }
  const V32 low = SumsOfFour(t0, t1, t2, t3), high = SumsOfFour(t4, t5, t6, t7);
  if constexpr (kLanes == 4) {
    AddTo(token, kRow, low, nullptr);
    AddTo(token, kRow + 4, high, nullptr);
  } else {
    const D32 d;
    AddTo(token, kRow,
          hn::Add(hn::ConcatLowerLower(d, high, low), hn::ConcatUpperUpper(d, high, low)), nullptr);
  }
}

// All rows of a block at a rate above 0.
using Product = void (*)(const Decoder&, const BitshiftBlock&, const BitshiftChunks&, const Token&);
template <int kRate>
void AllRows(const Decoder& decoder, const BitshiftBlock& block, const BitshiftChunks& chunks,
             const Token& token) {
  [&]<size_t... kEight>(std::index_sequence<kEight...>) HWY_ATTR {
    (EightRows<kRate, 8 * static_cast<int64_t>(kEight)>(decoder, block, chunks, token), ...);
  }(std::make_index_sequence<kTileRows / 8>());
}
template <size_t... kRate>
constexpr std::array<Product, sizeof...(kRate)> products(std::index_sequence<kRate...> /*rates*/) {
  return {AllRows<static_cast<int>(kRate) + 1>...};
}
constexpr auto kProducts = products(std::make_index_sequence<kMostStageRate>());

void ProductOfOne(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                  float* out) {
  std::fill_n(out, kTileRows, 0.0F);
  const Decoder decoder(M.memory);
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const BitshiftChunks chunks = M.chunks(tile, block);
    if (chunks.rate == 0) continue;
    kProducts[static_cast<size_t>(chunks.rate) - 1](
        decoder, block, chunks, PartOf(x, block, chunks.rate, static_cast<int64_t>(b), token, out));
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
