// Products with inputs in floats: a block is decoded once for all tokens, into the cache.
// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bitshift_float_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

#include "kernels/bitshift_product.h"
#include "kernels/bitshift_units-inl.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

#if !WATERSIC_TILE_VECTORS

void FloatProduct(const BitshiftMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                  int64_t tokens, float* out) {
  bitshift_product_scalar(M, tile, x, token, tokens, out);
}

#else

// Column after column, 64 rows each.
void Decode(const Decoder& decoder, const BitshiftBlock& block, const BitshiftChunks& chunks,
            float* HWY_RESTRICT values) {
  const hn::Repartition<uint32_t, D8> du;
  const DF d;
  alignas(64) std::array<uint32_t, kLanes * kTileRows> pairs;
  const auto unit = hn::Set(d, static_cast<float>(code_unit(chunks.rate)));
  const auto write = [&](hn::Vec<decltype(du)> codes, float* to) HWY_ATTR {
    const V32 c = hn::Sub(hn::BitCast(D32(), codes), hn::Set(D32(), kMiddleCode));
    hn::StoreU(hn::Mul(hn::ConvertTo(d, c), unit), d, to);
  };
  for (int64_t i = 0; i < block.columns; i += kColumns) {
    DecodePairs(decoder, chunks, i, reinterpret_cast<uint8_t*>(pairs.data()));
    for (int64_t pair = 0; pair < kLanes; ++pair) {
      float* to = values + (i + 2 * pair) * kTileRows;
      for (int64_t row = 0; row < kTileRows; row += kLanes) {
        const auto codes = hn::Load(du, pairs.data() + pair * kTileRows + row);
        write(hn::And(codes, hn::Set(du, 0xFFFF)), to + row);
        write(hn::ShiftRight<16>(codes), to + kTileRows + row);
      }
    }
  }
}

HWY_INLINE void AddToTwo(VF w0, VF w1, VF x, VF& total0, VF& total1) {
  total0 = hn::MulAdd(w0, x, total0);
  total1 = hn::MulAdd(w1, x, total1);
}

HWY_INLINE void AddTo(float* out, VF total) {
  const DF d;
  hn::StoreU(hn::Add(hn::LoadU(d, out), total), d, out);
}

// Two groups for a few tokens: their sums are in registers.
template <size_t... kT>
void AddTokens(int64_t columns, const float* HWY_RESTRICT values,
               const std::array<const float*, sizeof...(kT)>& z, float* out,
               std::index_sequence<kT...> /*tokens*/) {
  const DF d;
  for (int64_t row = 0; row < kTileRows; row += 2 * kLanes) {
    std::array<VF, 2 * sizeof...(kT)> totals{((void)kT, hn::Zero(d))...,
                                             ((void)kT, hn::Zero(d))...};
    for (int64_t i = 0; i < columns; ++i) {
      const VF w0 = hn::LoadU(d, values + i * kTileRows + row);
      const VF w1 = hn::LoadU(d, values + i * kTileRows + row + kLanes);
      (AddToTwo(w0, w1, hn::Set(d, z[kT][i]), totals[kT], totals[sizeof...(kT) + kT]), ...);
    }
    (AddTo(out + int64_t{kT} * kTileRows + row, totals[kT]), ...);
    (AddTo(out + int64_t{kT} * kTileRows + row + kLanes, totals[sizeof...(kT) + kT]), ...);
  }
}

void FloatProduct(const BitshiftMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                  int64_t tokens, float* out) {
  constexpr int64_t kTogether = 4;
  std::fill_n(out, tokens * kTileRows, 0.0F);
  alignas(64) std::array<float, kBitshiftColumns * kTileRows> values;
  const Decoder decoder(M.memory);
  for (const BitshiftBlock& block : M.blocks) {
    const BitshiftChunks chunks = M.chunks(tile, block);
    if (chunks.rate == 0) continue;
    Decode(decoder, block, chunks, values.data());
    const auto z = [&](int64_t t) { return x.z.row(token + t).data() + block.column; };
    int64_t t = 0;
    for (; t + kTogether <= tokens; t += kTogether)
      AddTokens(block.columns, values.data(), {z(t), z(t + 1), z(t + 2), z(t + 3)},
                out + t * kTileRows, std::make_index_sequence<kTogether>());
    for (; t < tokens; ++t)
      AddTokens(block.columns, values.data(), {z(t)}, out + t * kTileRows,
                std::make_index_sequence<1>());
  }
}

#endif

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(FloatProduct);

void bitshift_product(const BitshiftMatrix& M, int64_t tile, const FloatInputs& x, int64_t token,
                      int64_t tokens, float* out) {
  HWY_DYNAMIC_DISPATCH(FloatProduct)(M, tile, x, token, tokens, out);
}

}  // namespace watersic
#endif
