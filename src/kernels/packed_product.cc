// Products for one token: weights are unpacked as they come from memory, which is what bounds them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/packed_product.h"
#include "kernels/packed_units-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if !WATERSIC_TILE_VECTORS

void ProductOfOne(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                  float* out) {
  packed_product_scalar(M, tile, x, token, 1, out);
}

#else

constexpr int64_t kAhead = 2048;  // bytes

// Ahead of what the hardware foresees.
template <int kWidth>
HWY_INLINE void Prefetch(const uint8_t* quad) {
  for (int64_t line = 0; line < quad_bytes(kWidth); line += 64)
    __builtin_prefetch(quad + kAhead + line);
}

using Totals = std::array<V32, kTileUnits>;

template <int kWidth>
HWY_INLINE Totals NarrowTotals(const PackedBlock& block, const uint8_t* data, const uint8_t* q) {
  const int safe = SafeQuads(block);
  Totals totals;
  for (auto& total : totals) total = hn::Zero(D32());
  for (int begin = 0; begin < block.quads; begin += safe) {
    std::array<Sums, kTileUnits> sums;
    for (auto& sum : sums) sum = ZeroSums();
    const int end = std::min(block.quads, begin + safe);
    for (int k = begin; k < end; ++k) {
      const uint8_t* quad = data + k * quad_bytes(kWidth);
      Prefetch<kWidth>(quad);
      const V8 x = hn::BitCast(D8(), Inputs(q + 4 * k));
      ForEachUnit<kWidth>(quad, [&](size_t i, V8 w) { sums[i] = AddProducts(sums[i], w, x); });
    }
    for (size_t i = 0; i < sums.size(); ++i) totals[i] = hn::Add(totals[i], Widened(sums[i]));
  }
  return totals;
}

template <int kWidth>
HWY_INLINE Totals WideTotals(const PackedBlock& block, const uint8_t* data, const uint8_t* q) {
  Totals totals;
  for (auto& total : totals) total = hn::Zero(D32());
  for (int k = 0; k < block.quads; ++k) {
    const uint8_t* quad = data + k * quad_bytes(kWidth);
    Prefetch<kWidth>(quad);
    const V16 even = hn::BitCast(D16(), Inputs(q + 8 * k));
    const V16 odd = hn::BitCast(D16(), Inputs(q + 8 * k + 4));
    ForEachUnit<kWidth>(quad, [&](size_t i, V8 w) {
      totals[i] = AddPairs(AddPairs(totals[i], EvenColumns(w), even), OddColumns(w), odd);
    });
  }
  return totals;
}

template <int kWidth>
void Block(const PackedBlock& block, const uint8_t* data, const Token& token, const float* group) {
  for (int64_t half = 0; half < kHalves; ++half) {
    const uint8_t* at = data + half * kBytes;
    const Totals totals = block.wide ? WideTotals<kWidth>(block, at, token.q)
                                     : NarrowTotals<kWidth>(block, at, token.q);
    for (size_t i = 0; i < totals.size(); ++i)
      AddTo(token, 8 * static_cast<int64_t>(i) + half * kLanes, totals[i], group);
  }
}

void ProductOfOne(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                  float* out) {
  std::fill_n(out, kTileRows, 0.0F);
  const uint8_t* data = M.tile(tile).data();
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const PackedBlock& block = M.blocks[b];
    const Token part = PartOf(x, block, static_cast<int64_t>(b), token, out);
    WithWidth(block.width, [&]<int kWidth>() {
      Block<kWidth>(block, data + block.offset, part, Group(M, tile, block));
    });
  }
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(ProductOfOne);

void packed_product(const PackedMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                    int64_t tokens, float* out) {
  if (tokens == 1) {
    HWY_DYNAMIC_DISPATCH(ProductOfOne)(M, tile, x, token, out);
  } else {
    packed_batch_product(M, tile, x, token, tokens, out);
  }
}

}  // namespace watersic
#endif
