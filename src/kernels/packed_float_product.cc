// Products with inputs in floats, a token at a time: a unit's four columns are four multiplications
// of its rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_float_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/packed_product.h"
#include "kernels/packed_units-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if !WATERSIC_TILE_VECTORS

void FloatProduct(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                  int64_t tokens, float* out) {
  packed_product_scalar(M, tile, x, token, tokens, out);
}

#else

template <int kWidth>
void FloatBlock(const PackedBlock& block, const uint8_t* data, const float* z, float offset,
                const float* group, float* out) {
  const D32 d32;
  const DF df;
  const auto low = hn::Set(d32, 255);
  for (int64_t half = 0; half < kHalves; ++half) {
    std::array<VF, kTileUnits> sums;
    for (auto& sum : sums) sum = hn::Zero(df);
    for (int64_t k = 0; k < block.quads; ++k) {
      const uint8_t* at = data + half * kBytes + k * quad_bytes(kWidth);
      const std::array<VF, 4> x = {hn::Set(df, z[4 * k]), hn::Set(df, z[4 * k + 1]),
                                   hn::Set(df, z[4 * k + 2]), hn::Set(df, z[4 * k + 3])};
      ForEachUnit<kWidth>(at, [&](size_t i, V8 unit) {
        const auto w = hn::BitCast(d32, unit);
        const auto f = [&](auto v) { return hn::ConvertTo(df, v); };
        const auto even = hn::Add(hn::Mul(f(hn::And(w, low)), x[0]),
                                  hn::Mul(f(hn::And(hn::ShiftRight<16>(w), low)), x[2]));
        const auto odd = hn::Add(hn::Mul(f(hn::And(hn::ShiftRight<8>(w), low)), x[1]),
                                 hn::Mul(f(hn::ShiftRight<24>(w)), x[3]));
        sums[i] = hn::Add(sums[i], hn::Add(even, odd));
      });
    }
    for (int64_t unit = 0; unit < kTileUnits; ++unit) {
      const int64_t row = 8 * unit + half * kLanes;
      auto total = hn::Add(sums[static_cast<size_t>(unit)], hn::Set(df, offset));
      if (group != nullptr) total = hn::Mul(total, hn::LoadU(df, group + row));
      hn::StoreU(hn::Add(hn::LoadU(df, out + row), total), df, out + row);
    }
  }
}

void FloatProduct(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                  int64_t tokens, float* out) {
  std::fill_n(out, tokens * kTileRows, 0.0F);
  const uint8_t* data = M.tile(tile).data();
  for (int64_t t = 0; t < tokens; ++t) {
    for (size_t b = 0; b < M.blocks.size(); ++b) {
      const PackedBlock& block = M.blocks[b];
      const float* z = x.z.row(token + t).data() + block.column;
      const float offset = x.offset(token + t, static_cast<int64_t>(b));
      WithWidth(block.width, [&]<int kWidth>() {
        FloatBlock<kWidth>(block, data + block.offset, z, offset, Group(M, tile, block),
                           out + t * kTileRows);
      });
    }
  }
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(FloatProduct);

void packed_product(const PackedMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                    int64_t tokens, float* out) {
  HWY_DYNAMIC_DISPATCH(FloatProduct)(M, tile, x, token, tokens, out);
}

}  // namespace watersic
#endif
