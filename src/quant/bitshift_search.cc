// How it works. States are numbered by their bits with the oldest first, so that a row of k new
// bits leads from state p 2^(L-k) + t, whatever p, to the states 2^k t + z. The best of the 2^k
// ways into each t is found first, then the error of each state's value is added. Costs are 16
// bits, counted from the least one and held to their range: a path so far behind never wins. In
// these units a rate leaves an error of about 2^8, whatever the rate: errors are doubled (held to
// 16 bits) once a bit before they are squared.
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

constexpr int kUnitBits = 12;  // u is counted in 2^-12 deviations
// More would hold errors of values that lie far out to the same 16 bits, whatever the path.
constexpr int kMostDoublings = 2;
constexpr uint16_t kNever = std::numeric_limits<uint16_t>::max();

// What a step of one row works on. Arrays of 2^memory, or of 2^(memory - bits); those of costs have
// room for a vector more.
struct Step {
  size_t states = 0;
  int bits = 0;
  int doublings = 0;
  int16_t u = 0;
  uint16_t least = 0;             // of `cost`
  const int16_t* code = nullptr;  // the states' values
  const uint16_t* cost = nullptr;
  uint16_t* best = nullptr;  // scratch
  uint8_t* from = nullptr;   // the best way into each t
  uint16_t* next = nullptr;
};

}  // namespace
}  // namespace watersic
#endif

HWY_BEFORE_NAMESPACE();
namespace watersic {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128

uint16_t Square(int16_t u, int16_t code, int doublings) {
  int32_t d = int32_t{u} - code;
  for (int i = 0; i <= doublings; ++i) {
    d = std::clamp<int32_t>(d, INT16_MIN, INT16_MAX);
    if (i < doublings) d += d;
  }
  return static_cast<uint16_t>(d * d >> 16);
}

uint16_t VectorStep(const Step& s) {
  const size_t prefixes = s.states >> s.bits, ways = size_t{1} << s.bits;
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
    s.from[t] = static_cast<uint8_t>(from);
  }
  uint16_t least = kNever;
  for (size_t i = 0; i < s.states; ++i) {
    const uint32_t cost = uint32_t{s.best[i >> s.bits]} + Square(s.u, s.code[i], s.doublings);
    s.next[i] = static_cast<uint16_t>(std::min<uint32_t>(cost, kNever));
    least = std::min(least, s.next[i]);
  }
  return least;
}

#else
namespace hn = hwy::HWY_NAMESPACE;

using D16 = hn::CappedTag<uint16_t, 16>;
using DI16 = hn::RebindToSigned<D16>;
using V16 = hn::Vec<D16>;
constexpr size_t kLanes = HWY_MAX_BYTES < 32 ? HWY_MAX_BYTES / 2 : 16;
static_assert(kLanes == 8 || kLanes == 16);

template <int kBits>
void BestWays(const Step& s) {
  const D16 d;
  const hn::Rebind<uint8_t, D16> d8;
  const DI16 di;
  const size_t prefixes = s.states >> kBits;
  const V16 least = hn::Set(d, s.least);
  for (size_t t = 0; t < prefixes; t += kLanes) {
    V16 best = hn::LoadU(d, s.cost + t), from = hn::Zero(d);
    for (size_t p = 1; p < (size_t{1} << kBits); ++p) {
      const V16 less = hn::Min(hn::LoadU(d, s.cost + p * prefixes + t), best);
      from = hn::IfThenElse(hn::Eq(less, best), from, hn::Set(d, static_cast<uint16_t>(p)));
      best = less;
    }
    hn::StoreU(hn::Sub(best, least), d, s.best + t);
    hn::StoreU(hn::DemoteTo(d8, hn::BitCast(di, from)), d8, s.from + t);
  }
}

// best[i >> kBits] for lanes i = 0 .. kLanes: a block of 128 bits takes 8 >> kBits of them.
template <int kBits>
HWY_INLINE V16 Spread(const uint16_t* best) {
  const D16 d;
  if constexpr (kBits == 0) {
    return hn::Load(d, best);
  } else {
    const hn::Repartition<uint8_t, D16> d8;
    alignas(32) static constexpr auto kIndex = [] {
      std::array<uint8_t, 32> index{};
      for (size_t i = 0; i < 16; ++i) {
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

template <int kBits, int kDoublings>
uint16_t AddErrors(const Step& s) {
  const D16 d;
  const DI16 di;
  const auto u = hn::Set(di, s.u);
  V16 least = hn::Set(d, kNever);
  for (size_t i = 0; i < s.states; i += kLanes) {
    auto e = hn::SaturatedSub(u, hn::Load(di, s.code + i));
    for (int n = 0; n < kDoublings; ++n) e = hn::SaturatedAdd(e, e);
    const V16 square = hn::BitCast(d, hn::MulHigh(e, e));
    const V16 cost = hn::SaturatedAdd(Spread<kBits>(s.best + (i >> kBits)), square);
    hn::Store(cost, d, s.next + i);
    least = hn::Min(least, cost);
  }
  alignas(32) std::array<uint16_t, kLanes> lanes;
  hn::Store(least, d, lanes.data());
  return *std::ranges::min_element(lanes);
}

template <int kBits>
uint16_t StepOf(const Step& s) {
  BestWays<kBits>(s);
  switch (s.doublings) {
    case 0:
      return AddErrors<kBits, 0>(s);
    case 1:
      return AddErrors<kBits, 1>(s);
    default:
      return AddErrors<kBits, kMostDoublings>(s);
  }
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

uint32_t reversed(uint32_t value, int bits) {
  uint32_t out = 0;
  for (int b = 0; b < bits; ++b) out |= (value >> b & 1) << (bits - 1 - b);
  return out;
}

using Codes = std::array<hwy::AlignedFreeUniquePtr<int16_t[]>, kBitshiftQuarters>;

// The values of all states in their order here, of each phase.
const Codes& codes_of(int memory) {
  static std::array<std::once_flag, kMostMemory + 1> once;
  static std::array<Codes, kMostMemory + 1> codes;
  const auto m = static_cast<size_t>(memory);
  std::call_once(once[m], [&] {
    const size_t states = size_t{1} << memory;
    for (size_t phase = 0; phase < codes[m].size(); ++phase) {
      codes[m][phase] = hwy::AllocateAligned<int16_t>(states);
      for (size_t i = 0; i < states; ++i) {
        const int32_t value =
            code_value(reversed(static_cast<uint32_t>(i), memory), static_cast<uint32_t>(phase));
        codes[m][phase][i] =
            static_cast<int16_t>(std::lround(std::ldexp(value / kCodeDeviation, kUnitBits)));
      }
    }
  });
  return codes[m];
}

int16_t rounded(float u) {
  return static_cast<int16_t>(std::lround(std::ldexp(std::clamp(u, -7.9F, 7.9F), kUnitBits)));
}

}  // namespace

struct BitshiftSearch::Scratch {
  explicit Scratch(size_t states)
      : cost(hwy::AllocateAligned<uint16_t>(states + kRoom)),
        next(hwy::AllocateAligned<uint16_t>(states + kRoom)),
        best(hwy::AllocateAligned<uint16_t>(states + kRoom)) {}
  static constexpr size_t kRoom = 32;
  hwy::AlignedFreeUniquePtr<uint16_t[]> cost, next, best;
  std::vector<uint8_t> from;
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
    from_begin.push_back(from_begin.back() + (bits > 0 ? states >> bits : 0));
  }
  from.resize(std::max(from.size(), from_begin.back() + states));
  std::fill_n(cost.get(), states, start == kFree ? uint16_t{0} : kNever);
  const int drop = 16 - memory;
  if (start != kFree) cost[reversed(static_cast<uint32_t>(start) >> drop, memory)] = 0;
  uint16_t least = 0;
  for (size_t row = 0; row < u.size(); ++row) {
    const int rate = rate_of(row);
    if (rate == 0) continue;
    least = HWY_DYNAMIC_DISPATCH(VectorStep)(
        Step{.states = states,
             .bits = row_bits(rate, in_tile(row)),
             .doublings = std::min(std::max(0, rate - 2) / kBitshiftQuarters, kMostDoublings),
             .u = rounded(u[row]),
             .least = least,
             .code = codes[row_phase(rate, in_tile(row))].get(),
             .cost = cost.get(),
             .best = best.get(),
             .from = from.data() + from_begin[row],
             .next = next.get()});
    std::swap(cost, next);
  }
  auto state =
      static_cast<uint32_t>(std::min_element(cost.get(), cost.get() + states) - cost.get());
  for (size_t row = u.size(); row-- > 0;) {
    windows[row] = static_cast<uint16_t>(reversed(state, memory) << drop);
    const int rate = rate_of(row), bits = row_bits(rate, in_tile(row));
    if (bits == 0) continue;
    const uint32_t t = state >> bits;
    state = from[from_begin[row] + t] << (memory - bits) | t;
  }
  // With a shorter memory a window has bits older than it, which nothing depends on.
  auto window = start == kFree ? reversed(state, memory) << drop : static_cast<uint32_t>(start);
  const auto begin = static_cast<int>(window);
  for (size_t row = 0; row < u.size(); ++row) {
    const int bits = row_bits(rate_of(row), in_tile(row));
    window = next_window(window, uint32_t{windows[row]} >> (16 - bits), bits);
    windows[row] = static_cast<uint16_t>(window);
  }
  return begin;
}

}  // namespace watersic
#endif
