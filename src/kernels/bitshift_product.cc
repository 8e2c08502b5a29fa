// Products for one token: codes are made of the bits as they come from memory.
// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bitshift_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>

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

constexpr int64_t kAhead = 2048;  // bytes: of what is fetched before the hardware foresees it

// So many groups' sums stay in registers; without loops over them, which would put them in memory.
constexpr int kTogether = 8;

// It is the product that is pinned (Pin): GCC copies a pinned sum once more.
HWY_INLINE void AddOne(V32& total, V16 codes, V16 x) {
  V32 p = AddPairs(hn::Zero(D32()), codes, x);
  Pin(p);
  total = hn::Add(total, p);
}

template <int kRate, int kBegin, int... kI>
void Groups(int memory, const BitshiftBlock& block, const BitshiftChunks& chunks,
            const Token& token, std::integer_sequence<int, kI...> /*groups*/) {
  const Shifts<kRate> shifts(memory);
  const Decoder<kRate> decoder(memory, shifts);
  std::array<V32, kTogether> totals{((void)kI, hn::Zero(D32()))...};
  const uint8_t *chunk = chunks.chunk, *history = chunks.history;
  for (int64_t i = 0; i < block.columns; ++i) {
    if constexpr (kBegin == 0) __builtin_prefetch(chunk + kAhead);
    const Column column(history, chunk);
    const V16 x = hn::Set(D16(), ReadAs<int16_t>(token.q + 2 * i));
    (AddOne(totals[kI], decoder.template Codes<kBegin + kI>(column), x), ...);
    chunk += chunk_bytes(kRate);
    history += chunks.history_step;
  }
  (AddTo(token, (kBegin + kI) * kLanes, totals[kI], nullptr), ...);
}

void ProductOfOne(const BitshiftMatrix& M, int64_t tile, const QuantizedInputs& x, int64_t token,
                  float* out) {
  std::fill_n(out, kTileRows, 0.0F);
  for (size_t b = 0; b < M.blocks.size(); ++b) {
    const BitshiftBlock& block = M.blocks[b];
    const BitshiftChunks chunks = M.chunks(tile, block);
    const Token part = PartOf(x, block, static_cast<int64_t>(b), token, out);
    WithRate(chunks.rate, [&]<int kRate>() {
      constexpr auto kTotals = std::make_integer_sequence<int, kTogether>();
      Groups<kRate, 0>(M.memory, block, chunks, part, kTotals);
      if constexpr (kGroups > kTogether)
        Groups<kRate, kTogether>(M.memory, block, chunks, part, kTotals);
    });
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
