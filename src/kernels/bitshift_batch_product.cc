// Products for several tokens: a block is decoded once for all of them, into the cache.
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

// Pairs of columns in 16 bits, as PairTotals takes them.
template <int kRate>
void Unpack(int memory, const BitshiftBlock& block, const BitshiftChunks& chunks,
            uint8_t* HWY_RESTRICT units) {
  const Decoder<kRate> decoder(memory);
  const V16 ones = hn::Set(D16(), int16_t{1});
  const V32 zero = hn::Zero(D32());
  for (int64_t i = 0; i < block.columns; i += 2) {
    // An odd last column's partner has an input of 0.
    const int64_t j = std::min<int64_t>(i + 1, block.columns - 1);
    const uint8_t *left = chunks.chunk_of(i), *right = chunks.chunk_of(j);
    const uint64_t left_head = Head(chunks.history_of(i), left);
    const uint64_t right_head = Head(chunks.history_of(j), right);
    uint8_t* to = units + i / 4 * kQuadBytes16 + i / 2 % 2 * kPairBytes;
    ForGroups<0, kGroups>([&](auto group) {
      const V32 low = AddPairs(zero, decoder.template Codes<group>(left_head, left), ones);
      const V32 high = AddPairs(zero, decoder.template Codes<group>(right_head, right), ones);
      constexpr int64_t kRow = group * kLanes;
      hn::StoreU(hn::BitCast(D8(), hn::Or(low, hn::ShiftLeft<16>(high))), D8(),
                 to + kRow / 8 * 2 * kPairBytes + kRow % 8 * 4);
    });
  }
}

void ProductOfMany(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                   int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  alignas(64) std::array<uint8_t, kBlockQuads * kQuadBytes16> units{};
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const BitshiftChunks chunks = M.chunks(tile, block);
    if (chunks.rate == 0) continue;
    WithRate(chunks.rate,
             [&]<int kRate>() { Unpack<kRate>(M.memory, block, chunks, units.data()); });
    ForTokens(x, block, static_cast<int64_t>(b), token, tokens, out,
              [&]<int kTokens>(const std::array<Token, kTokens>& some) {
                AddUnits<kTokens>(
                    some, nullptr, [&](int64_t unit, int64_t half, const Quantized<kTokens>& q) {
                      return PairTotals<kTokens>(
                          block.quads(), units.data() + unit * 2 * kPairBytes + half * kBytes, q);
                    });
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
