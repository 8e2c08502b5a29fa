// Products for several tokens: a block is unpacked once for all of them, into the cache.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_batch_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/packed_layout.h"
#include "kernels/packed_product.h"
#include "kernels/packed_units-inl.h"
#include "kernels/tile_batch-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if !WATERSIC_TILE_VECTORS

void ProductOfMany(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                   int64_t tokens, float* out) {
  packed_product_scalar(M, tile, x, token, tokens, out);
}

#else

// Bytes of an unpacked quad, unit after unit: of wide blocks first the even columns, then the odd
// ones, in 16 bits.
constexpr int64_t unpacked_bytes(bool wide) { return (wide ? 2 : 1) * kTileUnits * kUnitBytes; }

// Quad after quad.
template <int kWidth>
void Unpack(const PackedBlock& block, const uint8_t* HWY_RESTRICT data, uint8_t* HWY_RESTRICT out) {
  const D8 d;
  const auto store = [&](V8 w, uint8_t* to) {
    if (block.wide) {
      hn::StoreU(hn::BitCast(d, EvenColumns(w)), d, to);
      hn::StoreU(hn::BitCast(d, OddColumns(w)), d, to + kPairBytes);
    } else {
      hn::StoreU(w, d, to);
    }
  };
  for (int k = 0; k < block.quads; ++k) {
    const uint8_t* quad = data + k * quad_bytes(kWidth);
    for (int64_t half = 0; half < kHalves; ++half)
      ForEachUnit<kWidth>(quad + half * kBytes, [&](size_t i, V8 w) {
        store(w, out + static_cast<int64_t>(i) * kUnitBytes + half * kBytes);
      });
    out += unpacked_bytes(block.wide);
  }
}

// sums += of quads [begin, end).
template <int kTokens>
HWY_INLINE void AddQuads(const uint8_t* HWY_RESTRICT units, const Quantized<kTokens>& q, int begin,
                         int end, std::array<Sums, kUnits * kTokens>& sums) {
  const D8 d;
  for (int k = begin; k < end; ++k) {
    const uint8_t* at = units + k * unpacked_bytes(false);
    const V8 w0 = hn::LoadU(d, at), w1 = hn::LoadU(d, at + kUnitBytes);
    for (size_t t = 0; t < kTokens; ++t) {
      const V8 x = hn::BitCast(d, Inputs(q[t] + 4 * k));
      sums[t] = AddProducts(sums[t], w0, x);
      sums[kTokens + t] = AddProducts(sums[kTokens + t], w1, x);
      Pin(sums[t]);
      Pin(sums[kTokens + t]);
    }
  }
}

template <int kTokens>
HWY_INLINE Totals<kTokens> NarrowTotals(const PackedBlock& block, const uint8_t* HWY_RESTRICT units,
                                        const Quantized<kTokens>& q) {
  Totals<kTokens> totals;
  for (auto& total : totals) total = hn::Zero(D32());
  // All quads if sums have room for them; or else in fours, a number that the compiler knows.
  constexpr int kFew = 4;
  static_assert(kFew * 2 * 127 * ((1 << (kWideWidth - 1)) - 1) <= INT16_MAX);
  const bool all = SafeQuads(block) >= kBlockQuads;
  for (int k = 0; k < block.quads;) {
    std::array<Sums, kUnits * kTokens> sums;
    for (auto& sum : sums) sum = ZeroSums();
    if (!all && k + kFew <= block.quads) {
      AddQuads<kTokens>(units, q, k, k + kFew, sums);
      k += kFew;
    } else {
      AddQuads<kTokens>(units, q, k, block.quads, sums);
      k = block.quads;
    }
    for (size_t i = 0; i < sums.size(); ++i) totals[i] = hn::Add(totals[i], Widened(sums[i]));
  }
  return totals;
}

template <int kTokens>
void AddNarrow(const PackedBlock& block, const uint8_t* HWY_RESTRICT units,
               const std::array<Token, kTokens>& tokens, const float* group) {
  Quantized<kTokens> q;
  for (size_t t = 0; t < kTokens; ++t) q[t] = tokens[t].q;
  for (int64_t unit = 0; unit < kTileUnits; unit += int64_t{kUnits}) {
    for (int64_t half = 0; half < kHalves; ++half) {
      const auto totals =
          NarrowTotals<kTokens>(block, units + unit * kUnitBytes + half * kBytes, q);
      for (size_t i = 0; i < kUnits; ++i)
        for (size_t t = 0; t < kTokens; ++t)
          AddTo(tokens[t], 8 * (unit + static_cast<int64_t>(i)) + half * kLanes,
                totals[i * kTokens + t], group);
    }
  }
}

void ProductOfMany(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                   int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  const uint8_t* data = M.tile(tile).data();
  alignas(64) std::array<uint8_t, kBlockQuads * unpacked_bytes(true)> units;
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    WithWidth(block.width,
              [&]<int kWidth>() { Unpack<kWidth>(block, data + block.offset, units.data()); });
    const float* group = Group(M, tile, block);
    const auto part = [&](int64_t t) HWY_ATTR {
      return PartOf(x, block, static_cast<int64_t>(b), token + t, out + t * kTileRows);
    };
    ForTokens<4>(tokens, part, [&]<int kTokens>(const std::array<Token, kTokens>& some) {
      if (block.wide) {
        AddPairsOf<kTokens>(2 * block.quads, units.data(), some, group);
      } else {
        AddNarrow<kTokens>(block, units.data(), some, group);
      }
    });
  }
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(ProductOfMany);

void packed_batch_product(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x,
                          int64_t token, int64_t tokens, float* out) {
  HWY_DYNAMIC_DISPATCH(ProductOfMany)(M, tile, x, token, tokens, out);
}

}  // namespace watersic
#endif
