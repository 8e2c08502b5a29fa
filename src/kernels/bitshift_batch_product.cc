// Products for several tokens: a block is decoded once for all of them, into the cache.
// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#define HWY_WANT_AVX3_DL  // for VNNI (AddPairs)
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

constexpr int kTogether = HWY_TARGET <= HWY_AVX3 ? 8 : 4;  // AVX-512 has twice the registers

void ProductOfMany(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                   int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  alignas(64) std::array<uint8_t, kBitshiftColumns / 2 * kPairBytes> units;
  const Decoder decoder(M.memory);
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const BitshiftChunks chunks = M.chunks(tile, block);
    if (chunks.rate == 0) continue;
    for (int64_t i = 0; i < block.columns; i += kColumns)
      DecodePairs(decoder, chunks, i, units.data() + i / 2 * kPairBytes);
    const auto part = [&](int64_t t) HWY_ATTR {
      return PartOf(x, block, chunks.rate, static_cast<int64_t>(b), token + t, out + t * kTileRows);
    };
    ForTokens<kTogether>(tokens, part, [&]<int kTokens>(const std::array<Token, kTokens>& some) {
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
