// Products of an unpacked block with several tokens, for each target.
#if defined(WATERSIC_KERNELS_TILE_BATCH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WATERSIC_KERNELS_TILE_BATCH_INL_H_
#undef WATERSIC_KERNELS_TILE_BATCH_INL_H_
#else
#define WATERSIC_KERNELS_TILE_BATCH_INL_H_
#endif

#include <array>
#include <utility>

#include "kernels/tile_vectors-inl.h"

#if WATERSIC_TILE_VECTORS
HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

// Two units for a few tokens: their sums are in registers.
constexpr size_t kUnits = 2;
template <int kTokens>
using Totals = std::array<V32, kUnits * kTokens>;

template <int kTokens>
using Quantized = std::array<const uint8_t*, kTokens>;  // inputs of each token

HWY_INLINE void AddToTwo(V16 w0, V16 w1, V16 x, V32& total0, V32& total1) {
  total0 = AddPairs(total0, w0, x);
  total1 = AddPairs(total1, w1, x);
}

// Adds a block's part of all rows; `units`: its pairs. Without loops over the totals, which would
// put them in memory.
template <int kTokens, size_t... kT>
void AddPairsOf(int64_t pairs, const uint8_t* HWY_RESTRICT units,
                const std::array<Token, kTokens>& tokens, const float* group,
                std::index_sequence<kT...> /*tokens*/) {
  const D8 d8;
  const D16 d;
  const V32 zero = hn::Zero(D32());
  for (int64_t unit = 0; unit < kTileUnits; unit += int64_t{kUnits}) {
    for (int64_t half = 0; half < kHalves; ++half) {
      const uint8_t* at = units + unit * kUnitBytes + half * kBytes;
      const Quantized<kTokens> q{tokens[kT].q...};
      Totals<kTokens> totals{((void)kT, zero)..., ((void)kT, zero)...};
      for (int64_t k = 0; k < pairs; ++k) {
        const V16 w0 = hn::BitCast(d, hn::LoadU(d8, at + k * kPairBytes));
        const V16 w1 = hn::BitCast(d, hn::LoadU(d8, at + k * kPairBytes + kUnitBytes));
        (AddToTwo(w0, w1, hn::BitCast(d, Inputs(q[kT] + 4 * k)), totals[kT], totals[kTokens + kT]),
         ...);
      }
      const int64_t row = 8 * unit + half * kLanes;
      (AddTo(tokens[kT], row, totals[kT], group), ...);
      (AddTo(tokens[kT], row + 8, totals[kTokens + kT], group), ...);
    }
  }
}
template <int kTokens>
HWY_INLINE void AddPairsOf(int64_t pairs, const uint8_t* HWY_RESTRICT units,
                           const std::array<Token, kTokens>& tokens, const float* group) {
  AddPairsOf<kTokens>(pairs, units, tokens, group, std::make_index_sequence<kTokens>());
}

// Calls f.operator()<count>(their parts in a block) for all tokens, at most kMost at a time, four
// or eight; part(t): that of token t.
template <int kMost, class Part, class F>
HWY_INLINE void ForTokens(int64_t tokens, const Part& part, const F& f) {
  int64_t t = 0;
  const auto several = [&]<int kTokens>() {
    for (; t + kTokens <= tokens; t += kTokens) {
      std::array<Token, kTokens> some;
      for (int64_t i = 0; i < kTokens; ++i) some[static_cast<size_t>(i)] = part(t + i);
      f.template operator()<kTokens>(some);
    }
  };
  if constexpr (kMost > 4) several.template operator()<kMost>();
  several.template operator()<4>();
  several.template operator()<1>();
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // WATERSIC_TILE_VECTORS
#endif  // WATERSIC_KERNELS_TILE_BATCH_INL_H_
