// How it works. The squared error of y against the nearest integer of a coset is, up to a term that
// all four cosets share, a piecewise linear function of their distance. So with y on a grid the
// metrics are small integers, exact in 16 bits, and nothing depends on the order of operations: all
// instruction sets and vector widths agree.
//
// A block of 128 bits holds the metrics of eight states; a vector holds such a block of one, two or
// four segments, and nothing ever crosses from block to block. With g = h1 >> 1 and h = h0 >> 1
// without its top bit, a new state t < N/2 comes from the states 2t and 2 (t ^ g), which are even
// (q = 0); t >= N/2 from 2 (u ^ h) + 1 and 2 (u ^ h ^ g) + 1, u = t - N/2 (q = 1). So a step sorts
// the metrics into those of even and of odd states, then permutes by XOR: lanes in a block, and
// whole blocks, which costs nothing where the loops are unrolled. (With a segment to each lane
// there is nothing to permute, but it takes 8 to 32 segments to fill a vector, and their fixed
// starts cost more than they save.)
#include "quant/viterbi.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <new>
#include <utility>
#include <vector>

#include "quant/round.h"

// Vectors without a size at compile time cannot stand in arrays; blocks of 128 bits gain nothing
// from them.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/viterbi.cc"
#include <hwy/foreach_target.h>  // this file once for each instruction set; comes first

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

// What all instruction sets share.
#ifndef WATERSIC_VITERBI_SHARED
#define WATERSIC_VITERBI_SHARED
namespace watersic {
namespace {

// Positions on the axis of m (2 y) are counted in steps of 1 / kUnit. Metrics are in such units
// that they rise by 0, 1 or 2 a step of the distance (see branch_metrics).
constexpr int kUnit = 512;
constexpr int kMaxStates = 256;
constexpr int kMaxBits = 8;            // of a state
constexpr int kMaxBranch = 2 * kUnit;  // the metric at the largest distance, 2 integers
// A row adds at most this to the least metric: of the two cosets that leave a state one is at most
// one integer away.
constexpr int kMaxGrowth = kUnit / 2;
// Metrics are counted from that of state 0 again after every so many rows.
constexpr size_t kRebaseRows = 64;
// What the states other than the first begin with. Every state is reached from the first within
// kMaxBits rows at a lower metric than this, so that no path that begins elsewhere lives longer or
// wins.
constexpr int kUnreached = kMaxBits * kMaxBranch + 1;
// For the same reason the metrics spread by kMaxBits branches at most once all states are reached.
static_assert(kUnreached + kMaxBits * kMaxBranch <= std::numeric_limits<int16_t>::max());
static_assert(kRebaseRows * kMaxGrowth + (kMaxBits + 1) * kMaxBranch <=
              std::numeric_limits<int16_t>::max());

constexpr size_t kLanes = 8;  // of a block
constexpr size_t blocks_of(int states) {
  return (static_cast<size_t>(states) + kLanes - 1) / kLanes;
}
// Decisions: each lane has words of 16 bits, one for each block.
constexpr size_t words_of(int states) { return (blocks_of(states) + 15) / 16; }

// y = 2 turns + rest: how often the integers m (at 2 y) have gone around the circle of 4, and where
// y is on it. Exact.
struct Place {
  float turns, rest;  // rest in [-1, 1]
};
inline Place place_of(float y) {
  y = std::clamp(y, -kMostMagnitude, kMostMagnitude);
  const float turns = round_to_integer(y * 0.5F);
  return {turns, y - 2 * turns};
}

// In [-2 kUnit, 2 kUnit].
inline int16_t position_of(float y) {
  return static_cast<int16_t>(round_to_integer(place_of(y).rest * (2 * kUnit)));
}

// The integer of coset c nearest to 2 y.
inline int32_t nearest_in_coset(float y, int32_t c) {
  const Place place = place_of(y);
  const float turn = round_to_integer((2 * place.rest - static_cast<float>(c)) * 0.25F);
  return c + 4 * (static_cast<int32_t>(place.turns) + static_cast<int32_t>(turn));
}

// In all arrays the index of a segment comes before that of a lane. 4 states fill a block twice.
struct Forward {
  int states;
  size_t segments;          // of a vector: 1, 2 or 4
  const int16_t* position;  // of each row and lane: y on a circle of 4 integers, all lanes alike
  int16_t* metric;          // of each block and lane
  uint16_t* decision;       // of each row, word and lane: bit j is b into state 8 j + lane
};

}  // namespace
}  // namespace watersic
#endif

HWY_BEFORE_NAMESPACE();
namespace watersic {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
using FloatTag = hn::CappedTag<float, 16>;

struct Places {
  hn::Vec<hn::RebindToSigned<FloatTag>> turns;
  hn::Vec<FloatTag> rest;
};
HWY_INLINE Places places_of(FloatTag d, hn::Vec<FloatTag> y) {
  const auto within = hn::Min(hn::Max(y, hn::Set(d, -0x1p29F)), hn::Set(d, 0x1p29F));
  const auto turns = hn::NearestInt(hn::Mul(within, hn::Set(d, 0.5F)));
  const auto around = hn::ConvertTo(d, turns);
  return {turns, hn::Sub(within, hn::Add(around, around))};
}
#endif

// Of `count` rows.
void positions(const float* y, size_t count, int16_t* position) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const FloatTag d;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto place = places_of(d, hn::LoadU(d, y + i));
    const auto rounded = hn::NearestInt(hn::Mul(place.rest, hn::Set(d, 2 * kUnit)));
    const hn::Rebind<int16_t, FloatTag> d16;
    hn::StoreU(hn::DemoteTo(d16, rounded), d16, position + i);
  }
#endif
  for (; i < count; ++i) position[i] = position_of(y[i]);
}

// m: cosets, replaced by their integers nearest to 2 y.
void nearest_in_cosets(const float* y, size_t count, int32_t* m) {
  size_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto place = places_of(d, hn::LoadU(d, y + i));
    const auto c = hn::LoadU(di, m + i);
    const auto apart = hn::Sub(hn::Add(place.rest, place.rest), hn::ConvertTo(d, c));
    const auto turns = hn::Add(place.turns, hn::NearestInt(hn::Mul(apart, hn::Set(d, 0.25F))));
    hn::StoreU(hn::Add(c, hn::ShiftLeft<2>(turns)), di, m + i);
  }
#endif
  for (; i < count; ++i) m[i] = nearest_in_coset(y[i], m[i]);
}

#if HWY_TARGET == HWY_SCALAR

// The same without vectors.
size_t max_segments() { return 1; }

void advance(const Forward& pass, size_t begin, size_t end) {
  const Trellis& trellis = Trellis::of(pass.states);
  const auto states = static_cast<size_t>(pass.states);
  const size_t words = words_of(pass.states);
  std::array<int16_t, kMaxStates> old;
  for (size_t row = begin; row < end; ++row) {
    std::copy_n(pass.metric, states, old.begin());
    std::array<int, 4> branch;
    for (int c = 0; c < 4; ++c) {
      const int apart = (pass.position[(row - begin) * kLanes] - c * kUnit) & (4 * kUnit - 1);
      const int distance = std::min(apart, 4 * kUnit - apart);
      branch[static_cast<size_t>(c)] =
          std::max({distance - kUnit / 2, 0, 2 * distance - 2 * kUnit});
    }
    uint16_t* decided = pass.decision + row * words * kLanes;
    std::fill_n(decided, words * kLanes, uint16_t{0});
    for (size_t t = 0; t < states; ++t) {
      std::array<int, 2> reached;
      for (int b = 0; b < 2; ++b) {
        const int s = trellis.previous(static_cast<int>(t), b);
        reached[static_cast<size_t>(b)] =
            old[static_cast<size_t>(s)] + branch[static_cast<size_t>((s & 1) + 2 * b)];
      }
      pass.metric[t] = static_cast<int16_t>(std::min(reached[0], reached[1]));
      if (reached[1] < reached[0]) {
        const size_t block = t / kLanes;
        decided[block / 16 * kLanes + t % kLanes] |= static_cast<uint16_t>(1U << (block % 16));
      }
    }
    if (row % kRebaseRows == kRebaseRows - 1) {
      const int16_t base = pass.metric[0];
      for (size_t s = 0; s < states; ++s)
        pass.metric[s] = static_cast<int16_t>(pass.metric[s] - base);
    }
  }
}

#else

// What permutes the lanes of every block alike: lane i takes lane source(i).
template <class D, class Source>
HWY_INLINE hn::Vec<hn::Repartition<uint8_t, D>> permutation(D /*d*/, const Source& source) {
  alignas(64) std::array<uint8_t, 64> bytes;
  for (size_t i = 0; i < bytes.size() / 2; ++i) {
    const auto from = static_cast<size_t>(source(static_cast<int>(i % kLanes)));
    bytes[2 * i] = static_cast<uint8_t>(2 * from);
    bytes[2 * i + 1] = static_cast<uint8_t>(2 * from + 1);
  }
  return hn::Load(hn::Repartition<uint8_t, D>(), bytes.data());
}

template <class D, class V, class Table>
HWY_INLINE V permute(D d, V v, Table table) {
  const hn::Repartition<uint8_t, D> bytes;
  return hn::BitCast(d, hn::TableLookupBytes(hn::BitCast(bytes, v), table));
}

// The metrics of the four cosets, in lanes 0 to 3 of each block. With f the distance of y from the
// nearest integer the distances are f, 1 - f, 1 + f and 2 - f, and their squares without the common
// f^2: 0, 1 - 2f, 1 + 2f and 4 - 4f; we halve them.
template <class D, class V>
HWY_INLINE V branch_metrics(D d, V position, V coset) {
  // 32 of our units to one of the circle's 2^16: the difference wraps as it should.
  const V apart = hn::ShiftRight<5>(hn::Sub(hn::ShiftLeft<5>(position), coset));
  const V distance = hn::Abs(apart);
  const V near = hn::Max(hn::Sub(distance, hn::Set(d, kUnit / 2)), hn::Zero(d));
  return hn::Max(near, hn::Sub(hn::Add(distance, distance), hn::Set(d, 2 * kUnit)));
}

// Rows [begin, end), of which the positions are given.
template <int kStates, class D>
void advance_in(D d, const Forward& pass, size_t begin, size_t end) {
  using V = hn::Vec<D>;
  const hn::RebindToUnsigned<D> du;
  const hn::Repartition<uint64_t, D> d64;
  constexpr Trellis kTrellis = Trellis::of(kStates);
  constexpr size_t kBlocks = blocks_of(kStates);
  constexpr size_t kWords = words_of(kStates);
  constexpr int kG = kTrellis.h1 >> 1;
  constexpr int kH = (kTrellis.h0 >> 1) & (kStates / 2 - 1);
  const size_t lanes = hn::Lanes(d);

  alignas(64) std::array<int16_t, 32> cosets;
  for (size_t i = 0; i < cosets.size(); ++i)
    cosets[i] = static_cast<int16_t>(static_cast<uint16_t>((i % 4) * (kUnit << 5)));
  const V coset = hn::Load(d, cosets.data());

  // Permutations. Out of the branch metrics: that of coset q + 2 b to all lanes; if all states are
  // in one block, with the q of the lane's state.
  const auto q_of_lane = [](int lane) { return lane % kStates >= kStates / 2 ? 1 : 0; };
  const auto pick = [&](int q, int b) {
    return permutation(d, [&](int i) { return (kBlocks == 1 ? q_of_lane(i) : q) + 2 * b; });
  };
  const decltype(pick(0, 0)) branch_of[2][2] = {{pick(0, 0), pick(0, 1)}, {pick(1, 0), pick(1, 1)}};
  // In one block, each state's predecessor.
  const auto previous0 =
      permutation(d, [&](int i) { return kTrellis.previous(i % kStates, 0) % 8; });
  const auto previous1 =
      permutation(d, [&](int i) { return kTrellis.previous(i % kStates, 1) % 8; });
  // In more: even states first, odd ones last, these permuted by the lowest two bits of h.
  const auto sort =
      permutation(d, [](int i) { return i < 4 ? 2 * i : 2 * ((i - 4) ^ (kH & 3)) + 1; });
  const auto partner = permutation(d, [](int i) { return i ^ (kG & 7); });
  const auto lane0 = permutation(d, [](int) { return 0; });

  V metric[kBlocks];
  for (size_t j = 0; j < kBlocks; ++j) metric[j] = hn::Load(d, pass.metric + j * lanes);

  for (size_t row = begin; row < end; ++row) {
    const V branch = branch_metrics(d, hn::Load(d, pass.position + (row - begin) * lanes), coset);
    auto decided = hn::Zero(du);
    const auto choose = [&](size_t j, V first, V second) {
      metric[j] = hn::Min(first, second);
      const auto bit = hn::Set(du, static_cast<uint16_t>(1U << (j % 16)));
      decided = hn::Or(decided, hn::IfThenElseZero(hn::RebindMask(du, hn::Lt(second, first)), bit));
      if (j % 16 == 15 || j == kBlocks - 1) {
        hn::Store(decided, du, pass.decision + (row * kWords + j / 16) * lanes);
        decided = hn::Zero(du);
      }
    };
    if constexpr (kBlocks == 1) {
      choose(0, hn::Add(permute(d, metric[0], previous0), permute(d, branch, branch_of[0][0])),
             hn::Add(permute(d, metric[0], previous1), permute(d, branch, branch_of[0][1])));
    } else {
      constexpr size_t kHalf = kBlocks / 2;
      constexpr size_t kBlockG = kG / 8;
      constexpr size_t kBlockH = kH / 8;
      V from[2][kHalf];
      for (size_t j = 0; j < kHalf; ++j) {
        const auto low = hn::BitCast(d64, permute(d, metric[2 * j], sort));
        const auto high = hn::BitCast(d64, permute(d, metric[2 * j + 1], sort));
        from[0][j] = hn::BitCast(d, hn::InterleaveLower(d64, low, high));
        from[1][j ^ kBlockH] = hn::BitCast(d, (kH & 4) != 0 ? hn::InterleaveUpper(d64, high, low)
                                                            : hn::InterleaveUpper(d64, low, high));
      }
      for (size_t q = 0; q < 2; ++q) {
        const V branch0 = permute(d, branch, branch_of[q][0]);
        const V branch1 = permute(d, branch, branch_of[q][1]);
        for (size_t j = 0; j < kHalf; ++j)
          choose(q * kHalf + j, hn::Add(from[q][j], branch0),
                 hn::Add(permute(d, from[q][j ^ kBlockG], partner), branch1));
      }
    }
    if (row % kRebaseRows == kRebaseRows - 1) {
      const V base = permute(d, metric[0], lane0);
      for (size_t j = 0; j < kBlocks; ++j) metric[j] = hn::Sub(metric[j], base);
    }
  }
  for (size_t j = 0; j < kBlocks; ++j) hn::Store(metric[j], d, pass.metric + j * lanes);
}

template <class D>
void advance_with(D d, const Forward& pass, size_t begin, size_t end) {
  switch (pass.states) {
    case 4:
      return advance_in<4>(d, pass, begin, end);
    case 8:
      return advance_in<8>(d, pass, begin, end);
    case 16:
      return advance_in<16>(d, pass, begin, end);
    case 32:
      return advance_in<32>(d, pass, begin, end);
    case 64:
      return advance_in<64>(d, pass, begin, end);
    case 128:
      return advance_in<128>(d, pass, begin, end);
    default:
      assert(pass.states == 256);
      return advance_in<256>(d, pass, begin, end);
  }
}

size_t max_segments() { return hn::Lanes(hn::CappedTag<int16_t, 4 * kLanes>()) / kLanes; }

// pass.segments: max_segments(), or a smaller power of two.
void advance(const Forward& pass, size_t begin, size_t end) {
  constexpr size_t kMax = hn::MaxLanes(hn::CappedTag<int16_t, 4 * kLanes>()) / kLanes;
  if constexpr (kMax >= 4)
    if (pass.segments == 4)
      return advance_with(hn::CappedTag<int16_t, 4 * kLanes>(), pass, begin, end);
  if constexpr (kMax >= 2)
    if (pass.segments == 2)
      return advance_with(hn::CappedTag<int16_t, 2 * kLanes>(), pass, begin, end);
  assert(pass.segments == 1);
  advance_with(hn::CappedTag<int16_t, kLanes>(), pass, begin, end);
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace watersic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {
namespace {

HWY_EXPORT(max_segments);
HWY_EXPORT(positions);
HWY_EXPORT(advance);
HWY_EXPORT(nearest_in_cosets);

constexpr size_t kChunkRows = 128;  // as many rows' positions are laid out at a time

// Grows to what is asked for; what it held is lost.
template <class T>
class Buffer {
 public:
  T* of(size_t count) {
    if (count > size_) {
      data_ = hwy::AllocateAligned<T>(count);
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = count;
    }
    return data_.get();
  }

 private:
  hwy::AlignedFreeUniquePtr<T[]> data_;
  size_t size_ = 0;
};

}  // namespace

struct Viterbi::Scratch {
  Buffer<int16_t> position, metric;
  Buffer<uint16_t> decision;

  // `count` segments one after the other; `width`, as many or more, in a vector. All begin in the
  // state `first`. Returns the state in which segment 0 ends.
  uint32_t run(const Trellis& trellis, size_t width, size_t count, size_t rows, const float* y,
               int32_t* m, uint32_t first = 0);
};

Viterbi::Viterbi(ThreadPool& pool, const Trellis& trellis) : pool_(pool), trellis_(trellis) {}
Viterbi::~Viterbi() = default;

uint32_t Viterbi::Scratch::run(const Trellis& trellis, size_t width, size_t count, size_t rows,
                               const float* y, int32_t* m, uint32_t first) {
  const auto states = static_cast<size_t>(trellis.states);
  const size_t lanes = width * kLanes;
  const size_t words = words_of(trellis.states);
  int16_t* place = position.of(kChunkRows * lanes);
  const Forward pass = {.states = trellis.states,
                        .segments = width,
                        .position = place,
                        .metric = metric.of(blocks_of(trellis.states) * lanes),
                        .decision = decision.of(rows * words * lanes)};
  const auto metric_of = [&](size_t segment, size_t state) {
    return pass.metric + state / kLanes * lanes + segment * kLanes + state % kLanes;
  };
  for (size_t segment = 0; segment < width; ++segment)
    for (size_t s = 0; s < blocks_of(trellis.states) * kLanes; ++s)
      *metric_of(segment, s) = s % states == first ? int16_t{0} : int16_t{kUnreached};

  std::fill(place, place + kChunkRows * lanes, int16_t{0});
  for (size_t begin = 0; begin < rows; begin += kChunkRows) {
    const size_t end = std::min(rows, begin + kChunkRows);
    for (size_t segment = 0; segment < count; ++segment) {
      std::array<int16_t, kChunkRows> narrow;
      HWY_DYNAMIC_DISPATCH(positions)(y + segment * rows + begin, end - begin, narrow.data());
      for (size_t i = 0; i < end - begin; ++i)
        std::fill_n(place + i * lanes + segment * kLanes, kLanes, narrow[i]);
    }
    HWY_DYNAMIC_DISPATCH(advance)(pass, begin, end);
  }

  // Back along the best paths, side by side: each is a chain of dependent loads. No branch depends
  // on a decision, which are as good as random. m holds the cosets at first.
  std::array<uint32_t, kMaxStates> previous;  // for b = 0; for b = 1 `other` of its bits differ
  for (size_t s = 0; s < states; ++s)
    previous[s] = static_cast<uint32_t>(trellis.previous(static_cast<int>(s), 0));
  const uint32_t other = previous[0] ^ static_cast<uint32_t>(trellis.previous(0, 1));
  std::array<uint32_t, 4> state = {};
  for (size_t segment = 0; segment < count; ++segment)
    for (uint32_t s = 1; s < states; ++s)
      if (*metric_of(segment, s) < *metric_of(segment, state[segment])) state[segment] = s;
  const uint32_t last = state[0];
  for (size_t i = rows; i-- > 0;) {
    const uint16_t* decided = pass.decision + i * words * lanes;
    for (size_t segment = 0; segment < count; ++segment) {
      const uint32_t s = state[segment];
      const size_t block = s / kLanes;
      const uint32_t word = decided[block / 16 * lanes + segment * kLanes + s % kLanes];
      const uint32_t b = (word >> (block % 16)) & 1;
      state[segment] = previous[s] ^ ((0U - b) & other);
      m[segment * rows + i] = static_cast<int32_t>((state[segment] & 1) + 2 * b);
    }
  }
  HWY_DYNAMIC_DISPATCH(nearest_in_cosets)(y, count * rows, m);
  return last;
}

int Viterbi::follow(std::span<const float> y, int state, std::span<int32_t> m) {
  assert(y.size() == m.size());
  if (scratch_.empty()) scratch_.resize(1);
  return static_cast<int>(
      scratch_[0].run(trellis_, 1, 1, y.size(), y.data(), m.data(), static_cast<uint32_t>(state)));
}

void Viterbi::quantize(std::span<const float> y, int64_t segment_rows, std::span<int32_t> m) {
  assert(y.size() == m.size() && segment_rows > 0);
  const auto rows = static_cast<size_t>(segment_rows);
  const size_t whole = y.size() / rows;
  const size_t rest = y.size() % rows;
  // Wider vectors only once all threads have work.
  size_t width = HWY_DYNAMIC_DISPATCH(max_segments)();
  while (width > 1 && whole <= width / 2 * static_cast<size_t>(pool_.threads())) width /= 2;
  const size_t groups = (whole + width - 1) / width;
  const size_t tasks = groups + (rest > 0 ? 1 : 0);
  if (scratch_.size() < tasks) scratch_.resize(tasks);
  pool_.parallel_for(static_cast<int64_t>(tasks), [&](int64_t task) {
    const auto t = static_cast<size_t>(task);
    const size_t first = t * width;
    // A last segment that is shorter goes by itself.
    if (t < groups)
      scratch_[t].run(trellis_, width, std::min(width, whole - first), rows,
                      y.data() + first * rows, m.data() + first * rows);
    else
      scratch_[t].run(trellis_, 1, 1, rest, y.data() + whole * rows, m.data() + whole * rows);
  });
}

}  // namespace watersic
#endif  // HWY_ONCE
