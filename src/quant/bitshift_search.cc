// How it works. A row of k new bits leads from state p 2^(L-k) + t, whatever p, to the states
// 2^k t + z. The best of the 2^k
// ways into each t is found first, then the error of each state's value is added. Costs are 16
// bits, counted from the least one and held to their range: a path so far behind never wins. Errors
// are squared in units that are finer for higher rates, whose errors are smaller.
#include "quant/bitshift_search.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>
#include <mutex>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/bitshift_search.cc"
#include <hwy/foreach_target.h>  // this file once for each instruction set; comes first

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#ifndef WATERSIC_BITSHIFT_SEARCH_SHARED
#define WATERSIC_BITSHIFT_SEARCH_SHARED
namespace watersic {
namespace {

// u is counted in 2^-12 deviations, or from a bit a row on in 2^-13, and held to the range of 16
// bits. From 2.5 bits on errors are doubled before they are squared.
constexpr bool is_fine(int rate) { return rate >= kBitshiftQuarters; }
constexpr int unit_bits(bool fine) { return fine ? 13 : 12; }
constexpr bool is_doubled(int rate) { return rate >= 10; }
constexpr uint16_t kNever = std::numeric_limits<uint16_t>::max();

// What a step of one row works on. Arrays of 2^memory, or of 2^(memory - bits); those of costs have
// room for a vector more.
struct Step {
  size_t states = 0;
  int bits = 0;
  bool doubled = false;
  int16_t u = 0;
  uint16_t least = 0;             // of `cost`
  const int16_t* code = nullptr;  // the states' values
  const uint16_t* cost = nullptr;
  uint16_t* best = nullptr;  // scratch
  uint16_t* from = nullptr;  // the best way into each t: Ways
  uint16_t* next = nullptr;
};

// The best ways into all t of a row, as few bits as they need: a word has those of t, t + kStride,
// t + 2 kStride, ... All of them together would not fit into a cache.
class Ways {
 public:
  static constexpr size_t kStride = 32;

  // Bits of each: 1, 2, 4 or 8.
  static constexpr int width(int bits) { return bits < 3 ? bits : bits < 5 ? 4 : 8; }
  static constexpr size_t in_word(int bits) { return static_cast<size_t>(16 / width(bits)); }
  // Of a row with so many t, no new bits: none.
  static size_t words(size_t prefixes, int bits) {
    if (bits == 0) return 0;
    const size_t block = kStride * in_word(bits);
    return (prefixes + block - 1) / block * kStride;
  }
  static void put(size_t way, size_t t, int bits, uint16_t* words) {
    const size_t block = kStride * in_word(bits);
    words[t / block * kStride + t % kStride] |=
        static_cast<uint16_t>(way << t % block / kStride * static_cast<size_t>(width(bits)));
  }
  static uint32_t at(const uint16_t* words, size_t t, int bits) {
    const size_t block = kStride * in_word(bits);
    const uint16_t word = words[t / block * kStride + t % kStride];
    const auto shift = static_cast<int>(t % block / kStride) * width(bits);
    return uint32_t{word} >> shift & ((1U << bits) - 1);
  }
};

}  // namespace
}  // namespace watersic
#endif

HWY_BEFORE_NAMESPACE();
namespace watersic {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

uint16_t Square(int16_t u, int16_t code, bool doubled) {
  const auto held = [](int32_t d) { return std::clamp<int32_t>(d, INT16_MIN, INT16_MAX); };
  int32_t d = held(int32_t{u} - code);
  if (doubled) d = held(2 * d);
  return static_cast<uint16_t>(d * d >> 16);
}

uint16_t VectorStep(const Step& s) {
  const size_t prefixes = s.states >> s.bits, ways = size_t{1} << s.bits;
  std::fill_n(s.from, Ways::words(prefixes, s.bits), uint16_t{0});
  for (size_t t = 0; t < prefixes; ++t) {
    uint16_t best = s.cost[t];
    size_t from = 0;
    for (size_t p = 1; p < ways; ++p) {
      if (s.cost[p * prefixes + t] < best) {
        best = s.cost[p * prefixes + t];
        from = p;
      }
    }
    s.best[t] = static_cast<uint16_t>(best - s.least);
    if (s.bits > 0) Ways::put(from, t, s.bits, s.from);
  }
  uint16_t least = kNever;
  for (size_t i = 0; i < s.states; ++i) {
    const uint32_t cost = uint32_t{s.best[i >> s.bits]} + Square(s.u, s.code[i], s.doubled);
    s.next[i] = static_cast<uint16_t>(std::min<uint32_t>(cost, kNever));
    least = std::min(least, s.next[i]);
  }
  return least;
}

#else
namespace hn = hwy::HWY_NAMESPACE;

using D16 = hn::CappedTag<uint16_t, 32>;
using DI16 = hn::RebindToSigned<D16>;
using V16 = hn::Vec<D16>;
constexpr size_t kLanes = HWY_MAX_BYTES / 2;
static_assert(kLanes == 8 || kLanes == 16 || kLanes == 32);

// The best way into each of some t; writes what it costs.
template <int kBits>
HWY_INLINE V16 BestWay(const Step& s, size_t prefixes, size_t t, V16 least) {
  const D16 d;
  V16 best = hn::LoadU(d, s.cost + t), from = hn::Zero(d);
  for (size_t p = 1; p < (size_t{1} << kBits); ++p) {
    const V16 less = hn::Min(hn::LoadU(d, s.cost + p * prefixes + t), best);
    from = hn::IfThenElse(hn::Eq(less, best), from, hn::Set(d, static_cast<uint16_t>(p)));
    best = less;
  }
  hn::StoreU(hn::Sub(best, least), d, s.best + t);
  return from;
}

template <int kBits>
void BestWays(const Step& s) {
  const D16 d;
  const size_t prefixes = s.states >> kBits;
  const V16 least = hn::Set(d, s.least);
  if constexpr (kBits == 0) {
    for (size_t t = 0; t < prefixes; t += kLanes) BestWay<0>(s, prefixes, t, least);
  } else {
    constexpr size_t kBlock = Ways::kStride * Ways::in_word(kBits);
    uint16_t* words = s.from;
    for (size_t block = 0; block < prefixes; block += kBlock, words += Ways::kStride) {
      for (size_t lane = 0; lane < Ways::kStride; lane += kLanes) {
        V16 word = hn::Zero(d);
        const size_t end = std::min(block + kBlock, prefixes);
        int shift = 0;
        for (size_t t = block + lane; t < end; t += Ways::kStride, shift += Ways::width(kBits))
          word = hn::Or(word, hn::ShiftLeftSame(BestWay<kBits>(s, prefixes, t, least), shift));
        hn::StoreU(word, d, words + lane);
      }
    }
  }
}

// best[i >> kBits] for lanes i = 0 .. kLanes: a block of 128 bits takes 8 >> kBits of them.
template <int kBits>
HWY_INLINE V16 Spread(const uint16_t* best) {
  const D16 d;
  if constexpr (kBits == 0) {
    return hn::Load(d, best);
  } else if constexpr (kLanes >> kBits > 8) {
    const hn::Repartition<uint32_t, D16> d32;
    const auto wide = hn::PromoteTo(d32, hn::LoadU(hn::Rebind<uint16_t, decltype(d32)>(), best));
    return hn::BitCast(d, hn::Or(wide, hn::ShiftLeft<16>(wide)));
  } else {
    const hn::Repartition<uint8_t, D16> d8;
    alignas(64) static constexpr auto kIndex = [] {
      std::array<uint8_t, 2 * kLanes> index{};
      for (size_t i = 0; i < kLanes; ++i) {
        const size_t at = i >> kBits;
        index[2 * i] = static_cast<uint8_t>(2 * at);
        index[2 * i + 1] = static_cast<uint8_t>(2 * at + 1);
      }
      return index;
    }();
    const V16 values = hn::LoadDup128(d, best);
    return hn::BitCast(d,
                       hn::TableLookupBytes(hn::BitCast(d8, values), hn::Load(d8, kIndex.data())));
  }
}

template <int kBits, bool kDoubled>
uint16_t AddErrors(const Step& s) {
  const D16 d;
  const DI16 di;
  const auto u = hn::Set(di, s.u);
  V16 least = hn::Set(d, kNever);
  for (size_t i = 0; i < s.states; i += kLanes) {
    auto e = hn::SaturatedSub(u, hn::Load(di, s.code + i));
    if constexpr (kDoubled) e = hn::SaturatedAdd(e, e);
    const V16 square = hn::BitCast(d, hn::MulHigh(e, e));
    const V16 cost = hn::SaturatedAdd(Spread<kBits>(s.best + (i >> kBits)), square);
    hn::Store(cost, d, s.next + i);
    least = hn::Min(least, cost);
  }
  alignas(64) std::array<uint16_t, kLanes> lanes;
  hn::Store(least, d, lanes.data());
  return *std::ranges::min_element(lanes);
}

template <int kBits>
uint16_t StepOf(const Step& s) {
  BestWays<kBits>(s);
  return s.doubled ? AddErrors<kBits, true>(s) : AddErrors<kBits, false>(s);
}

uint16_t VectorStep(const Step& s) {
  switch (s.bits) {
    case 0:
      return StepOf<0>(s);
    case 1:
      return StepOf<1>(s);
    case 2:
      return StepOf<2>(s);
    case 3:
      return StepOf<3>(s);
    case 4:
      return StepOf<4>(s);
    case 5:
      return StepOf<5>(s);
    default:
      return StepOf<6>(s);
  }
}
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace watersic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {
namespace {

HWY_EXPORT(VectorStep);

int16_t rounded(double u, bool fine) {
  constexpr double kMost = std::numeric_limits<int16_t>::max();
  return static_cast<int16_t>(
      std::lround(std::clamp(std::ldexp(u, unit_bits(fine)), -kMost, kMost)));
}

// The values of all states: of the low code those of each phase, and of the high one.
struct Codes {
  using Values = hwy::AlignedFreeUniquePtr<int16_t[]>;
  std::array<Values, kBitshiftQuarters> low;
  Values high;

  const int16_t* of(int rate, int64_t row) const {
    return (rate > kMostLowRate ? high : low[row_phase(rate, row)]).get();
  }
};

const Codes& codes_of(int memory) {
  static std::array<std::once_flag, kMostMemory + 1> once;
  static std::array<Codes, kMostMemory + 1> codes;
  const auto m = static_cast<size_t>(memory);
  std::call_once(once[m], [&] {
    const size_t states = size_t{1} << memory;
    const auto values = [&](int rate, int64_t row) {
      auto out = hwy::AllocateAligned<int16_t>(states);
      for (size_t i = 0; i < states; ++i) {
        const int32_t value = code_value(memory, rate, static_cast<uint32_t>(i), row);
        out[i] = rounded(value / kCodeDeviation, is_fine(rate));
      }
      return out;
    };
    for (int64_t row = 0; row < kBitshiftQuarters; ++row)
      codes[m].low[static_cast<size_t>(row)] = values(1, row);
    codes[m].high = values(kMostLowRate + 1, 0);
  });
  return codes[m];
}

}  // namespace

struct BitshiftSearch::Scratch {
  explicit Scratch(size_t states)
      : cost(hwy::AllocateAligned<uint16_t>(states + kRoom)),
        next(hwy::AllocateAligned<uint16_t>(states + kRoom)),
        best(hwy::AllocateAligned<uint16_t>(states + kRoom)) {}
  static constexpr size_t kRoom = 64;
  hwy::AlignedFreeUniquePtr<uint16_t[]> cost, next, best;
  std::vector<uint16_t> from;
  std::vector<size_t> from_begin;  // of each row
};

BitshiftSearch::BitshiftSearch(int memory)
    : memory_(memory), scratch_(std::make_unique<Scratch>(size_t{1} << memory)) {
  assert(memory >= kLeastMemory && memory <= kMostMemory);
}
BitshiftSearch::~BitshiftSearch() = default;

// Each row's step, then back along the best path.
int BitshiftSearch::follow(std::span<const float> u, int64_t first, std::span<const int32_t> rates,
                           int start, std::span<uint16_t> windows) {
  assert(windows.size() == u.size());
  auto& [cost, next, best, from, from_begin] = *scratch_;
  const int memory = memory_;
  const size_t states = size_t{1} << memory;
  const Codes& codes = codes_of(memory);
  const auto rate_of = [&](size_t row) {
    const auto tile = (first + static_cast<int64_t>(row)) / kBitshiftRows - first / kBitshiftRows;
    return rates[static_cast<size_t>(tile)];
  };
  const auto in_tile = [&](size_t row) {
    return (first + static_cast<int64_t>(row)) % kBitshiftRows;
  };
  // Where a row has no new bits there is one way only, and nothing to remember.
  from_begin.assign(1, 0);
  for (size_t row = 0; row < u.size(); ++row) {
    const int bits = row_bits(rate_of(row), in_tile(row));
    from_begin.push_back(from_begin.back() + Ways::words(states >> bits, bits));
  }
  from.resize(std::max(from.size(), from_begin.back()));
  std::fill_n(cost.get(), states, start == kFree ? uint16_t{0} : kNever);
  if (start != kFree) cost[state_of(memory, static_cast<uint32_t>(start))] = 0;
  uint16_t least = 0;
  for (size_t row = 0; row < u.size(); ++row) {
    const int rate = rate_of(row);
    if (rate == 0) continue;
    least = HWY_DYNAMIC_DISPATCH(VectorStep)(Step{.states = states,
                                                  .bits = row_bits(rate, in_tile(row)),
                                                  .doubled = is_doubled(rate),
                                                  .u = rounded(u[row], is_fine(rate)),
                                                  .least = least,
                                                  .code = codes.of(rate, in_tile(row)),
                                                  .cost = cost.get(),
                                                  .best = best.get(),
                                                  .from = from.data() + from_begin[row],
                                                  .next = next.get()});
    std::swap(cost, next);
  }
  auto state =
      static_cast<uint32_t>(std::min_element(cost.get(), cost.get() + states) - cost.get());
  for (size_t row = u.size(); row-- > 0;) {
    windows[row] = static_cast<uint16_t>(state);
    const int rate = rate_of(row), bits = row_bits(rate, in_tile(row));
    if (bits == 0) continue;
    const uint32_t t = state >> bits;
    state = Ways::at(from.data() + from_begin[row], t, bits) << (memory - bits) | t;
  }
  // With a shorter memory a window has bits older than it, which nothing depends on.
  auto window = start == kFree ? state : static_cast<uint32_t>(start);
  const auto begin = static_cast<int>(window);
  for (size_t row = 0; row < u.size(); ++row) {
    const int bits = row_bits(rate_of(row), in_tile(row));
    window = next_window(window, state_of(bits, windows[row]), bits);
    windows[row] = static_cast<uint16_t>(window);
  }
  return begin;
}

}  // namespace watersic
#endif
