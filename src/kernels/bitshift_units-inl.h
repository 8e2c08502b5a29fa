// What bitshift products are made of, for each target: the codes of a row of some columns.
#if defined(WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
#undef WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
#else
#define WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
#endif

#include <hwy/highway.h>

#include <array>

#include "kernels/bitshift_matrix.h"
#include "kernels/tile_vectors-inl.h"

#if WATERSIC_TILE_VECTORS
HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

// A vector has a word of each of so many columns.
constexpr int64_t kColumns = 2 * kLanes;
static_assert(kBitshiftVector % kColumns == 0);
using DU16 = hn::Repartition<uint16_t, D8>;
using VU16 = hn::Vec<DU16>;

HWY_INLINE VU16 ReadWords(const uint8_t* p) { return hn::BitCast(DU16(), hn::LoadU(D8(), p)); }

// The first bit after a row among those of the word before and the tile's own.
constexpr int64_t bit_after(int rate, int64_t row) {
  return 16 + (row + 1) * rate / kBitshiftQuarters;
}

// Sums of pairs of bytes.
HWY_INLINE V16 PairSums(V8 v) {
#if HWY_ARCH_X86 && HWY_MAX_BYTES >= 32
  return V16{_mm256_maddubs_epi16(v.raw, _mm256_set1_epi8(1))};
#elif HWY_ARCH_X86
  return V16{_mm_maddubs_epi16(v.raw, _mm_set1_epi8(1))};
#elif HWY_ARCH_ARM
  return V16(vreinterpretq_s16_u16(vpaddlq_u8(v.raw)));
#else
#error "a target without sums of pairs"
#endif
}

// A token's part in a block, of products with codes at a rate.
HWY_INLINE Token PartOf(const QuantizedInputs& x, const BitshiftBlock& block, int rate, int64_t b,
                        int64_t token, float* out) {
  Token part = PartOf(x, block, b, token, out);
  part.scale *= static_cast<float>(code_unit(rate));
  return part;
}

// Makes codes of windows: code_of each lane. What it has in itself stays in registers.
class Decoder {
 public:
  explicit Decoder(int memory)
      : mask_(Lanes((1U << memory) - 1)),
        factor_(Lanes(kLowFactor << (16 - memory))),
        addend_(Lanes(kLowAddend << (16 - memory))) {}

  HWY_INLINE V16 Codes(int rate, VU16 window, int64_t row) const {
    return rate <= kMostLowRate ? Low(window, row_phase(rate, row)) : High(window);
  }

 private:
  static HWY_INLINE VU16 Lanes(uint32_t value) {
    return hn::Set(DU16(), static_cast<uint16_t>(value));
  }

  HWY_INLINE V16 Low(VU16 window, uint32_t phase) const {
    if (phase != 0) window = hn::Add(window, Lanes(phase * kPhaseStep));
    const VU16 p = hn::Add(hn::Mul(window, factor_), addend_);
    const VU16 mean = hn::AverageRound(p, hn::Mul(window, p));
    return hn::BitCast(D16(), hn::ShiftRight<7>(mean));
  }
  HWY_INLINE V16 High(VU16 window) const {
    const D8 d8;
    const VU16 state = hn::And(window, mask_);
    const VU16 p = hn::Mul(state, Lanes(kHighFactor));
    const VU16 q = hn::Mul(state, Lanes(kOtherHighFactor));
    return PairSums(hn::AverageRound(hn::BitCast(d8, p), hn::BitCast(d8, q)));
  }

  VU16 mask_, factor_, addend_;
};

// The window after some bits of the second word, 1 to 15.
template <int kShift>
HWY_INLINE VU16 Window(VU16 first, VU16 second) {
  return hn::Or(hn::ShiftLeft<kShift>(first), hn::ShiftRight<16 - kShift>(second));
}
HWY_INLINE VU16 Window(VU16 first, VU16 second, int shift) {
  return hn::Or(hn::ShiftLeftSame(first, shift), hn::ShiftRightSame(second, 16 - shift));
}

// Of kColumns from `column` of a block on a tile's codes, from 0 on: pairs of columns in 16 bits
// each, 64 rows of a pair side by side. What is beyond the block's columns is arbitrary.
HWY_INLINE void DecodePairs(const Decoder& decoder, const BitshiftChunks& chunks, int64_t column,
                            uint8_t* HWY_RESTRICT to) {
  const hn::Repartition<uint32_t, D8> d32;
  const auto read = [&](int64_t number)
                        HWY_ATTR { return ReadWords(chunks.words.at(number) + 2 * column); };
  VU16 first = read(0), second = read(1);
  int64_t at = 1;  // the number of `second`
  for (int64_t row = 0; row < kTileRows; row += 4) {
    std::array<V16, 4> codes;
    for (int64_t r = 0; r < 4; ++r) {
      const int64_t bit = bit_after(chunks.rate, row + r);
      if (bit / 16 > at) {
        first = second;
        if (++at <= chunk_words(chunks.rate)) second = read(at);
      }
      const auto shift = static_cast<int>(bit % 16);
      codes[static_cast<size_t>(r)] =
          decoder.Codes(chunks.rate, shift == 0 ? first : Window(first, second, shift), row + r);
    }
    // Four rows of a pair of columns are 16 bytes.
    alignas(64) std::array<uint32_t, 4 * kLanes> turned;
    hn::StoreInterleaved4(hn::BitCast(d32, codes[0]), hn::BitCast(d32, codes[1]),
                          hn::BitCast(d32, codes[2]), hn::BitCast(d32, codes[3]), d32,
                          turned.data());
    const hn::FixedTag<uint32_t, 4> d4;
    for (int64_t pair = 0; pair < kLanes; ++pair)
      hn::Store(hn::Load(d4, turned.data() + 4 * pair), d4,
                reinterpret_cast<uint32_t*>(to + pair * kPairBytes + 4 * row));
  }
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // WATERSIC_TILE_VECTORS
#endif  // WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
