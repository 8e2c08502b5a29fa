// Products for several tokens: a block is decoded once for all of them, into the cache.
// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bitshift_batch_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/bitshift_product.h"
#include "kernels/bitshift_units-inl.h"
#include "kernels/tile_batch-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if !WATERSIC_TILE_VECTORS

void ProductOfMany(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                   int64_t tokens, float* out) {
  bitshift_product_scalar(M, tile, x, token, tokens, out);
}

#else

template <int kRate, int... kGroup>
HWY_INLINE void UnpackPair(const Decoder<kRate>& decoder, const Column& low, const Column& high,
                           uint8_t* HWY_RESTRICT to,
                           std::integer_sequence<int, kGroup...> /*groups*/) {
  const D8 d;
  const V16 ones = hn::Set(D16(), int16_t{1});
  const auto sums = [&](V16 codes) HWY_ATTR { return AddPairs(hn::Zero(D32()), codes, ones); };
  (hn::StoreU(hn::BitCast(d, hn::Or(sums(decoder.template Codes<kGroup>(low)),
                                    hn::ShiftLeft<16>(sums(decoder.template Codes<kGroup>(high))))),
              d, to + kGroup * kBytes),
   ...);
}

// Pairs of columns in 16 bits, as PairTotals takes them.
template <int kRate>
void Unpack(int memory, const BitshiftBlock& block, const BitshiftChunks& chunks,
            uint8_t* HWY_RESTRICT units) {
  const Shifts<kRate> shifts(memory);
  const Decoder<kRate> decoder(memory, shifts);
  for (int64_t i = 0; i < block.columns; i += 2) {
    // An odd last column's partner has an input of 0.
    const int64_t j = std::min<int64_t>(i + 1, block.columns - 1);
    UnpackPair(decoder, Column(chunks, i), Column(chunks, j), units + i / 2 * kPairBytes,
               std::make_integer_sequence<int, kGroups>());
  }
}

void ProductOfMany(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                   int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  alignas(64) std::array<uint8_t, 2 * kBlockQuads * kPairBytes> units;
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const BitshiftChunks chunks = M.chunks(tile, block);
    if (chunks.rate == 0) continue;
    WithRate(chunks.rate,
             [&]<int kRate>() { Unpack<kRate>(M.memory, block, chunks, units.data()); });
    ForTokens(x, block, static_cast<int64_t>(b), token, tokens, out,
              [&]<int kTokens>(const std::array<Token, kTokens>& some) {
                AddPairsOf<kTokens>((block.columns + 1) / 2, units.data(), some, nullptr);
              });
  }
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(ProductOfMany);

void bitshift_batch_product(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x,
                            int64_t token, int64_t tokens, float* out) {
  HWY_DYNAMIC_DISPATCH(ProductOfMany)(M, tile, x, token, tokens, out);
}

}  // namespace watersic
#endif
