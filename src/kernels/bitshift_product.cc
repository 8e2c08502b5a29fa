// Products for one token: codes are made of the bits as they come from memory.
// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#define HWY_WANT_AVX3_DL  // for VNNI (AddPairs)
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

// Of eight rows. A variable for each: arrays of them end up in memory.
struct EightSums {
  V32 a, b, c, d, e, f, g, h;
};

// Adds kColumns from `column` of rows [kRow, kRow + 8).
template <int kRate, int64_t kRow>
HWY_INLINE void AddColumns(const Decoder& decoder, const BitshiftWords& words, int64_t column,
                           V16 x, EightSums& sums) {
  sums.a = AddPairs(sums.a, CodesOf<kRate, kRow>(decoder, words, column), x);
  sums.b = AddPairs(sums.b, CodesOf<kRate, kRow + 1>(decoder, words, column), x);
  sums.c = AddPairs(sums.c, CodesOf<kRate, kRow + 2>(decoder, words, column), x);
  sums.d = AddPairs(sums.d, CodesOf<kRate, kRow + 3>(decoder, words, column), x);
  sums.e = AddPairs(sums.e, CodesOf<kRate, kRow + 4>(decoder, words, column), x);
  sums.f = AddPairs(sums.f, CodesOf<kRate, kRow + 5>(decoder, words, column), x);
  sums.g = AddPairs(sums.g, CodesOf<kRate, kRow + 6>(decoder, words, column), x);
  sums.h = AddPairs(sums.h, CodesOf<kRate, kRow + 7>(decoder, words, column), x);
}

// Of rows [row, row + 8).
HWY_INLINE void AddTo(const Token& token, int64_t row, const EightSums& sums) {
  const V32 low = SumsOfFour(sums.a, sums.b, sums.c, sums.d),
            high = SumsOfFour(sums.e, sums.f, sums.g, sums.h);
  if constexpr (kLanes == 4) {
    AddTo(token, row, low, nullptr);
    AddTo(token, row + 4, high, nullptr);
  } else {
    const D32 d;
    AddTo(token, row,
          hn::Add(hn::ConcatLowerLower(d, high, low), hn::ConcatUpperUpper(d, high, low)), nullptr);
  }
}

// As many rows at a time as there are registers for: what begins and ends them takes as long as
// some columns.
constexpr int64_t kTogether = HWY_TARGET <= HWY_AVX3 ? 16 : 8;

// Rows [kRow, kRow + kTogether) of a block.
template <int kRate, int64_t kRow>
HWY_INLINE void SomeRows(const Decoder& decoder, const BitshiftBlock& block,
                         const BitshiftChunks& chunks, const Token& token) {
  const BitshiftWords words = chunks.words;
  const uint8_t* HWY_RESTRICT q = token.q;
  constexpr int64_t kShare = kColumns * kTogether * kRate / kBitshiftQuarters / 8;  // bytes
  const uint8_t* ahead =
      words.first + kAhead + kRow * block.columns * kRate / kBitshiftQuarters / 8;
  const V32 zero = hn::Zero(D32());
  EightSums first{zero, zero, zero, zero, zero, zero, zero, zero}, second = first;
  for (int64_t i = 0; i < block.columns; i += kColumns) {
    for (int64_t at = 0; at < kShare; at += 64) __builtin_prefetch(ahead + at);
    ahead += kShare;
    const auto x = hn::BitCast(D16(), hn::LoadU(D8(), q + 2 * i));
    AddColumns<kRate, kRow>(decoder, words, i, x, first);
    if constexpr (kTogether > 8) AddColumns<kRate, kRow + 8>(decoder, words, i, x, second);
  }
  AddTo(token, kRow, first);
  if constexpr (kTogether > 8) AddTo(token, kRow + 8, second);
}

// All rows of a block at a rate above 0.
using Product = void (*)(const Decoder&, const BitshiftBlock&, const BitshiftChunks&, const Token&);
template <int kRate>
void AllRows(const Decoder& decoder, const BitshiftBlock& block, const BitshiftChunks& chunks,
             const Token& token) {
  [&]<size_t... kPart>(std::index_sequence<kPart...>) HWY_ATTR {
    (SomeRows<kRate, static_cast<int64_t>(kPart) * kTogether>(decoder, block, chunks, token), ...);
  }(std::make_index_sequence<kTileRows / kTogether>());
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
