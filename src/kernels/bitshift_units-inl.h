// What bitshift products are made of, for each target: the codes of a few rows of a column.
#if defined(WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
#undef WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
#else
#define WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
#endif

#include <hwy/highway.h>

#include <array>
#include <cstring>
#include <utility>

#include "kernels/bitshift_matrix.h"
#include "kernels/tile_vectors-inl.h"

#if WATERSIC_TILE_VECTORS
HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {

// A group is as many rows as a vector has lanes of 32 bits. The lanes' windows are found in one
// word, the same for all: 32 bits of the stream, or 64 from which each lane picks its bytes.
constexpr int kGroups = static_cast<int>(kTileRows / kLanes);
using DU = hn::Repartition<uint32_t, D8>;
using VU = hn::Vec<DU>;

// Where a window begins among the bits of the history (16) and the chunk.
constexpr int window_bit(int rate, int64_t row) {
  return static_cast<int>((row + 1) * rate / kBitshiftQuarters);
}

// Of a group: the word's first byte, of the history and the chunk, and whether 32 bits will do.
struct Word {
  int byte = 0;
  bool narrow = false;
};
constexpr Word word_of(int rate, int group) {
  const int64_t row = group * kLanes;
  const int first = window_bit(rate, row), end = window_bit(rate, row + kLanes - 1) + 16;
  const int byte = end <= 32 ? 0 : first / 8;
  return {.byte = byte, .narrow = end - 8 * byte <= 32};
}
constexpr int bit_in_word(int rate, int group, int64_t lane) {
  return window_bit(rate, group * kLanes + lane) - 8 * word_of(rate, group).byte;
}

// Of each row of a tile: by how much its bits are to be shifted right, where the state is all of
// the window, and of wide words which bytes they are.
struct Places {
  alignas(32) std::array<uint32_t, kTileRows> shift{};
  alignas(32) std::array<uint8_t, 4 * kTileRows> bytes{};
};
constexpr Places places_of(int rate) {
  Places places;
  for (size_t row = 0; row < kTileRows; ++row) {
    const int group = static_cast<int>(row) / static_cast<int>(kLanes);
    const int bit = bit_in_word(rate, group, static_cast<int64_t>(row) % kLanes);
    places.shift[row] = static_cast<uint32_t>(word_of(rate, group).narrow ? bit : bit % 8);
    for (size_t i = 0; i < 4; ++i)
      places.bytes[4 * row + i] = static_cast<uint8_t>(static_cast<size_t>(bit / 8) + i);
  }
  return places;
}
template <int kRate>
constexpr Places kPlaces = places_of(kRate);

template <class T>
HWY_INLINE T ReadAs(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// A column's chunk, and the history with the chunk's first bytes.
struct Column {
  HWY_INLINE Column(const uint8_t* history, const uint8_t* bits)
      : chunk(bits), head(ReadAs<uint64_t>(bits) << 16 | ReadAs<uint16_t>(history)) {}
  HWY_INLINE Column(const BitshiftChunks& chunks, int64_t i)
      : Column(chunks.history_of(i), chunks.chunk_of(i)) {}
  const uint8_t* chunk;
  uint64_t head;
};

// Sums of pairs of bytes.
HWY_INLINE V16 PairSums(VU v) {
#if HWY_ARCH_X86 && HWY_MAX_BYTES >= 32
  return V16{_mm256_maddubs_epi16(v.raw, _mm256_set1_epi8(1))};
#elif HWY_ARCH_X86
  return V16{_mm_maddubs_epi16(v.raw, _mm_set1_epi8(1))};
#elif HWY_ARCH_ARM
  return V16(vreinterpretq_s16_u16(vpaddlq_u8(vreinterpretq_u8_u32(v.raw))));
#else
#error "a target without sums of pairs"
#endif
}

// Of each row by how much its bits are to be shifted right, at a rate and a memory.
template <int kRate>
struct Shifts {
  explicit Shifts(int memory) {
    const DU d;
    const auto unseen = hn::Set(d, static_cast<uint32_t>(kMostMemory - memory));
    for (int64_t row = 0; row < kTileRows; row += kLanes)
      hn::Store(hn::Add(hn::Load(d, kPlaces<kRate>.shift.data() + row), unseen), d,
                rows.data() + row);
  }
  alignas(32) std::array<uint32_t, kTileRows> rows;
};

// Decodes columns of one rate. What it has in itself stays in registers.
template <int kRate>
class Decoder {
 public:
  Decoder(int memory, const Shifts<kRate>& shifts)
      : mask_(hn::Set(DU(), (1U << memory) - 1)), shift_(shifts.rows.data()) {}

  // Of the lanes' rows the four bytes whose sum is the code, in two pairs in 16 bits.
  template <int kGroup>
  HWY_INLINE V16 Codes(const Column& column) const {
    constexpr Word kWord = word_of(kRate, kGroup);
    constexpr bool kInChunk = kWord.byte >= 2;
    constexpr int64_t kRow = kGroup * kLanes;
    const DU d;
    const D8 d8;
    VU v;
    if constexpr (kWord.narrow) {
      v = hn::Set(d, kInChunk ? ReadAs<uint32_t>(column.chunk + kWord.byte - 2)
                              : static_cast<uint32_t>(column.head >> 8 * kWord.byte));
    } else {
      const auto word = hn::Set(hn::Repartition<uint64_t, D8>(),
                                kInChunk ? ReadAs<uint64_t>(column.chunk + kWord.byte - 2)
                                         : column.head >> 8 * kWord.byte);
      const auto bytes = hn::Load(d8, kPlaces<kRate>.bytes.data() + 4 * kRow);
      v = hn::BitCast(d, hn::TableLookupBytes(hn::BitCast(d8, word), bytes));
    }
    v = hn::And(hn::Shr(v, hn::Load(d, shift_ + kRow)), mask_);
    if constexpr (kRate < kBitshiftQuarters) {
      // In 16 bits, as the state is.
      const hn::Repartition<uint16_t, D8> d16;
      alignas(32) static constexpr std::array<uint32_t, 8> kPhases = [] {
        std::array<uint32_t, 8> phases{};
        for (size_t row = 0; row < phases.size(); ++row)
          phases[row] = row_phase(kRate, static_cast<int64_t>(row)) * kPhaseStep & 0xFFFF;
        return phases;
      }();
      const auto phases = hn::BitCast(d16, hn::Load(d, kPhases.data()));
      v = hn::BitCast(d, hn::Add(hn::BitCast(d16, v), phases));
    }
    return PairSums(hn::Mul(v, hn::Set(d, kCodeFactor)));
  }

 private:
  VU mask_;
  const uint32_t* shift_;
};

// f.operator()<rate>(), where it is above 0.
template <class F>
HWY_INLINE void WithRate(int rate, const F& f) {
  [&]<int... kRate>(std::integer_sequence<int, kRate...>) {
    ((rate == kRate + 1 ? f.template operator()<kRate + 1>() : void()), ...);
  }(std::make_integer_sequence<int, kMostStageRate>());
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // WATERSIC_TILE_VECTORS
#endif  // WATERSIC_KERNELS_BITSHIFT_UNITS_INL_H_
