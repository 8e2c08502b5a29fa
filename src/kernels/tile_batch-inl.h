// Products of an unpacked block with several tokens, for each target.
#if defined(WATERSIC_KERNELS_TILE_BATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WATERSIC_KERNELS_TILE_BATCH_INL_H_
#undef WATERSIC_KERNELS_TILE_BATCH_INL_H_
#else
#define WATERSIC_KERNELS_TILE_BATCH_INL_H_
#endif

#include <array>

#include "kernels/tile_vectors-inl.h"

#if WATERSIC_TILE_VECTORS
HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

// Two units for up to four tokens: their sums are in registers.
constexpr size_t kUnits = 2;
constexpr int64_t kTogether = 4;
template <int kTokens>
using Totals = std::array<V32, kUnits * kTokens>;

template <int kTokens>
using Quantized = std::array<const uint8_t*, kTokens>;  // inputs of each token

// A quad in 16 bits is two pairs of columns of each unit, pair after pair, unit after unit.
constexpr int64_t kPairBytes = kUnitBytes;
constexpr int64_t kQuadBytes16 = kTileUnits * 2 * kPairBytes;

// `at`: the first of the two units, or its half; q: of each token the pairs of 16 bits.
template <int kTokens>
HWY_INLINE Totals<kTokens> PairTotals(int quads, const uint8_t* HWY_RESTRICT at,
                                      const Quantized<kTokens>& q) {
  const D8 d8;
  const D16 d;
  Totals<kTokens> totals;
  for (auto& total : totals) total = hn::Zero(D32());
  for (int k = 0; k < quads; ++k) {
    for (int64_t pair = 0; pair < 2; ++pair) {
      const uint8_t* w = at + k * kQuadBytes16 + pair * kPairBytes;
      const V16 w0 = hn::BitCast(d, hn::LoadU(d8, w));
      const V16 w1 = hn::BitCast(d, hn::LoadU(d8, w + 2 * kPairBytes));
      for (size_t t = 0; t < kTokens; ++t) {
        const V16 x = hn::BitCast(d, Inputs(q[t] + 8 * k + 4 * pair));
        totals[t] = AddPairs(totals[t], w0, x);
        totals[kTokens + t] = AddPairs(totals[kTokens + t], w1, x);
        Pin(totals[t]);
        Pin(totals[kTokens + t]);
      }
    }
  }
  return totals;
}

// Adds a block's part of all rows. totals(unit, half, q): of a unit and the next, Totals.
template <int kTokens, class TotalsOf>
HWY_INLINE void AddUnits(const std::array<Token, kTokens>& tokens, const float* group,
                         const TotalsOf& totals_of) {
  Quantized<kTokens> q;
  for (size_t t = 0; t < kTokens; ++t) q[t] = tokens[t].q;
  for (int64_t unit = 0; unit < kTileUnits; unit += int64_t{kUnits}) {
    for (int64_t half = 0; half < kHalves; ++half) {
      const Totals<kTokens> totals = totals_of(unit, half, q);
      for (size_t i = 0; i < kUnits; ++i)
        for (size_t t = 0; t < kTokens; ++t)
          AddTo(tokens[t], 8 * (unit + static_cast<int64_t>(i)) + half * kLanes,
                totals[i * kTokens + t], group);
    }
  }
}

// Calls f.operator()<count>(their parts in block number b) for all tokens, a few at a time.
template <class Block, class F>
HWY_INLINE void ForTokens(const QuantizedInputs& x, const Block& block, int64_t b, int64_t token,
                          int64_t tokens, float* out, const F& f) {
  const auto several = [&]<int kTokens>(int64_t first) {
    std::array<Token, kTokens> some;
    for (int64_t t = 0; t < kTokens; ++t)
      some[static_cast<size_t>(t)] =
          PartOf(x, block, b, token + first + t, out + (first + t) * kTileRows);
    f.template operator()<kTokens>(some);
  };
  int64_t t = 0;
  for (; t + kTogether <= tokens; t += kTogether) several.template operator()<kTogether>(t);
  for (; t < tokens; ++t) several.template operator()<1>(t);
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // WATERSIC_TILE_VECTORS
#endif  // WATERSIC_KERNELS_TILE_BATCH_INL_H_
