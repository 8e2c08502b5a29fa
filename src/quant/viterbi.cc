// How it works. The squared error of y against the nearest integer of coset c is, up to a term that
// all four cosets share, a piecewise linear function of their distance. So with y on a grid the
// metrics are small integers, exact in 16 bits, and nothing depends on the order of operations: all
// instruction sets and vector widths agree.
//
// A lane is a segment. A vector holds one state's metric in every lane, and a step of the trellis
// is additions and minima of whole vectors, with no lane ever crossing to another. (States in the
// lanes would need permutations by constants that differ with code and width.)
#include "quant/viterbi.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <vector>

#include "quant/round.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/viterbi.cc"
#include <hwy/foreach_target.h>  // this file once for each instruction set; before highway.h
// clang-format would sort it first.
#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

// What all instruction sets share.
#ifndef WATERSIC_VITERBI_SHARED
#define WATERSIC_VITERBI_SHARED
namespace watersic {
namespace {

// Positions are counted in kUnit to the distance of two integers m. Metrics are in such units that
// the three regions of a distance have slopes 0, 1 and 2.
constexpr int kUnit = 512;
constexpr int kMaxStates = 256;
constexpr int kMaxBits = 8;
constexpr int kMaxBranch = 2 * kUnit;  // the metric at the largest distance, 2 integers
// A row adds at most this to the least metric: of the two cosets that leave a state one is at most
// one integer away.
constexpr int kMaxGrowth = kUnit / 2;
// Metrics are counted from their minimum again every so many rows, at the same rows in any layout.
constexpr int64_t kRebaseRows = 64;
// What the states other than 0 begin with. Every state is reached from state 0 within kMaxBits rows
// at a lower metric than this, so that no path that begins elsewhere lives longer or wins.
constexpr int kUnreached = kMaxBits * kMaxBranch + 1;
// For the same reason the metrics spread by kMaxBits branches at most once all states are reached.
static_assert(kUnreached + kMaxBits * kMaxBranch <= std::numeric_limits<int16_t>::max());
static_assert(kRebaseRows * kMaxGrowth + (kMaxBits + 1) * kMaxBranch <=
              std::numeric_limits<int16_t>::max());

// Segments are cut into blocks of about this many rows, by a look at so many rows before the cut
// and after it.
constexpr size_t kBlockRows = 256;
inline const size_t kLookRows = getenv("LOOK") ? atoi(getenv("LOOK")) : 64;

// Decisions of this many states make a word of each lane, a bit each.
constexpr int kWordStates = 16;
constexpr int words_of(int states) { return (states + kWordStates - 1) / kWordStates; }

struct Forward {
  const Trellis* trellis;
  size_t lanes;
  const int16_t* position;  // rows x lanes: y on a circle of 4 integers, in [-2 kUnit, 2 kUnit]
  int16_t* metric;          // states x lanes
  int16_t* spare;           // states x lanes
  uint16_t* decision;       // rows x words x lanes: bit j of word w is b into state 16 w + j
};

}  // namespace
}  // namespace watersic
#endif

HWY_BEFORE_NAMESPACE();
namespace watersic {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Twice the metric's slopes: 0 where the coset has the nearest integer, and so on. For distances
// x and, in `near`, with f the distance from the nearest integer of any coset: x^2 - f^2 is 0 for
// x = f, 1 - 2 f for 1 - f, 1 + 2 f for 1 + f, 4 - 4 f for 2 - f.
template <class V>
HWY_INLINE V branch_metric(V distance) {
  const hn::DFromV<V> d;
  const auto half = hn::Set(d, kUnit / 2);
  const auto one_away = hn::Max(hn::Sub(distance, half), hn::Zero(d));
  const auto two_away = hn::Sub(hn::Add(distance, distance), hn::Set(d, 2 * kUnit));
  return hn::Max(one_away, two_away);
}

// kPerWord: how many states share a word of decisions.
template <int kPerWord, class D>
void advance_in(D d, Forward& pass, size_t begin, size_t end) {
  using V = hn::Vec<D>;
  const hn::RebindToUnsigned<D> du;
  const size_t lanes = hn::Lanes(d);
  const auto states = static_cast<size_t>(pass.trellis->states);
  const size_t words = states / kPerWord;
  // Offsets of the two predecessors of each state, and of the metrics of the branches from them.
  std::array<std::array<uint16_t, 2>, kMaxStates> from;
  for (size_t t = 0; t < states; ++t)
    for (int b = 0; b < 2; ++b)
      from[t][static_cast<size_t>(b)] = static_cast<uint16_t>(
          static_cast<size_t>(pass.trellis->previous(static_cast<int>(t), b)) * lanes);

  for (size_t row = begin; row < end; ++row) {
    const int16_t* HWY_RESTRICT old = pass.metric;
    int16_t* HWY_RESTRICT now = pass.spare;
    // 32 units of 16 bits go around the circle: a difference wraps as it should.
    const V p = hn::ShiftLeft<5>(hn::Load(d, pass.position + row * lanes));
    const V from0 = hn::Abs(hn::ShiftRight<5>(p));
    const V from1 = hn::Abs(hn::ShiftRight<5>(hn::Sub(p, hn::Set(d, kUnit << 5))));
    const V around = hn::Set(d, 2 * kUnit);
    // [q][b]: coset q + 2 b.
    const V metric[2][2] = {{branch_metric(from0), branch_metric(hn::Sub(around, from0))},
                            {branch_metric(from1), branch_metric(hn::Sub(around, from1))}};
    uint16_t* HWY_RESTRICT decision = pass.decision + row * words * lanes;
    const auto step = [&](size_t t, const V& metric0, const V& metric1, auto bit, auto& word) {
      const V first = hn::Add(hn::Load(d, old + from[t][0]), metric0);
      const V second = hn::Add(hn::Load(d, old + from[t][1]), metric1);
      hn::Store(hn::Min(first, second), d, now + t * lanes);
      word = hn::Or(word, hn::IfThenElseZero(hn::RebindMask(du, hn::Lt(second, first)), bit));
    };
    for (size_t w = 0; w < words; ++w) {
      auto word = hn::Zero(du);
      for (size_t j = 0; j < kPerWord; ++j) {
        const size_t t = w * kPerWord + j;
        const size_t q = words == 1 ? j / (kPerWord / 2) : w / (words / 2);
        step(t, metric[q][0], metric[q][1], hn::Set(du, static_cast<uint16_t>(1U << j)), word);
      }
      hn::Store(word, du, decision + w * lanes);
    }
    if (row % kRebaseRows == kRebaseRows - 1) {
      V least = hn::Load(d, now);
      for (size_t s = 1; s < states; ++s) least = hn::Min(least, hn::Load(d, now + s * lanes));
      for (size_t s = 0; s < states; ++s)
        hn::Store(hn::Sub(hn::Load(d, now + s * lanes), least), d, now + s * lanes);
    }
    std::swap(pass.metric, pass.spare);
  }
}

template <class D>
void advance_with(D d, Forward& pass, size_t begin, size_t end) {
  switch (pass.trellis->states) {
    case 4:
      return advance_in<4>(d, pass, begin, end);
    case 8:
      return advance_in<8>(d, pass, begin, end);
    default:
      return advance_in<kWordStates>(d, pass, begin, end);
  }
}

size_t max_lanes() { return hn::Lanes(hn::CappedTag<int16_t, 32>()); }

// Rows [begin, end). pass.lanes: max_lanes(), or its half or quarter where that is 8 or more.
void advance(Forward& pass, size_t begin, size_t end) {
  const hn::CappedTag<int16_t, 32> wide;
  const hn::CappedTag<int16_t, 16> middle;
  const hn::CappedTag<int16_t, 8> narrow;
  if (pass.lanes == hn::Lanes(wide)) return advance_with(wide, pass, begin, end);
  if (pass.lanes == hn::Lanes(middle)) return advance_with(middle, pass, begin, end);
  assert(pass.lanes == hn::Lanes(narrow));
  advance_with(narrow, pass, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace watersic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {
namespace {

HWY_EXPORT(max_lanes);
HWY_EXPORT(advance);

float held(float y) { return std::min(std::max(y, -0x1p29F), 0x1p29F); }

// y of a row as its place on the circle of 4 integers m (2 of y). Exact but for the last rounding.
int16_t position_of(float y) {
  y = held(y);
  const float r = y - 2 * round_to_integer(y * 0.5F);  // in [-1, 1]
  return static_cast<int16_t>(round_to_integer(r * (2 * kUnit)));
}

// The integer of coset c nearest to 2 y.
int32_t nearest_in_coset(float y, int32_t c) {
  const float n = (2 * held(y) - static_cast<float>(c)) * 0.25F;
  return c + 4 * static_cast<int32_t>(round_to_integer(n));
}

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

constexpr int kAny = -1;  // any state

}  // namespace

// A stretch of rows with what is known of its ends.
struct Viterbi::Lane {
  size_t begin, rows;
  int start, end;  // states before the first row and after the last, or kAny
  // Rows to go back over from the end, and the state before them: the answer. Where they are all
  // rows, m is written.
  size_t back = rows;
  int state = kAny;
};

struct Viterbi::Scratch {
  Buffer<int16_t> position, metric, spare;
  Buffer<uint16_t> decision;

  void run(const Trellis& trellis, size_t width, std::span<Lane> lanes, const float* y, int32_t* m);
};

Viterbi::Viterbi(ThreadPool& pool, const Trellis& trellis) : pool_(pool), trellis_(trellis) {}
Viterbi::~Viterbi() = default;

// width: the lanes of the vectors, `lanes` or more.
void Viterbi::Scratch::run(const Trellis& trellis, size_t width, std::span<Lane> lanes,
                           const float* y, int32_t* m) {
  const auto states = static_cast<size_t>(trellis.states);
  const auto words = static_cast<size_t>(words_of(trellis.states));
  size_t longest = 0;
  for (const Lane& lane : lanes) longest = std::max(longest, lane.rows);

  int16_t* place = position.of(longest * width);
  std::fill(place, place + longest * width, int16_t{0});
  for (size_t l = 0; l < lanes.size(); ++l)
    for (size_t i = 0; i < lanes[l].rows; ++i)
      place[i * width + l] = position_of(y[lanes[l].begin + i]);

  int16_t* initial = metric.of(states * width);
  std::fill(initial, initial + states * width, int16_t{0});
  for (size_t l = 0; l < lanes.size(); ++l)
    for (size_t s = 0; s < states; ++s)
      if (lanes[l].start != kAny && lanes[l].start != static_cast<int>(s))
        initial[s * width + l] = kUnreached;

  Forward pass = {.trellis = &trellis,
                  .lanes = width,
                  .position = place,
                  .metric = initial,
                  .spare = spare.of(states * width),
                  .decision = decision.of(longest * words * width)};
  // A pause wherever a lane ends, to see its best state.
  for (size_t row = 0; row < longest;) {
    size_t stop = longest;
    for (const Lane& lane : lanes)
      if (lane.rows > row) stop = std::min(stop, lane.rows);
    HWY_DYNAMIC_DISPATCH(advance)(pass, row, stop);
    for (size_t l = 0; l < lanes.size(); ++l) {
      if (lanes[l].rows != stop) continue;
      lanes[l].state = lanes[l].end;
      if (lanes[l].end != kAny) continue;
      size_t best = 0;
      for (size_t s = 1; s < states; ++s)
        if (pass.metric[s * width + l] < pass.metric[best * width + l]) best = s;
      lanes[l].state = static_cast<int>(best);
    }
    row = stop;
  }

  // Back along the paths, all lanes side by side: each is a chain of dependent loads. m holds the
  // cosets at first.
  for (size_t i = longest; i-- > 0;) {
    const uint16_t* decided = pass.decision + i * words * width;
    for (size_t l = 0; l < lanes.size(); ++l) {
      Lane& lane = lanes[l];
      if (i >= lane.rows || i + lane.back < lane.rows) continue;
      const auto s = static_cast<size_t>(lane.state);
      const int b = (decided[s / kWordStates * width + l] >> (s % kWordStates)) & 1;
      lane.state = trellis.previous(lane.state, b);
      if (lane.back == lane.rows) m[lane.begin + i] = (lane.state & 1) + 2 * b;
    }
  }
  for (const Lane& lane : lanes)
    if (lane.back == lane.rows)
      for (size_t i = lane.begin; i < lane.begin + lane.rows; ++i)
        m[i] = nearest_in_coset(y[i], m[i]);
}

// Shares the lanes out to vectors, and these to threads.
void Viterbi::run(std::span<Lane> lanes, std::span<const float> y, std::span<int32_t> m) {
  const auto threads = static_cast<size_t>(pool_.threads());
  size_t width = HWY_DYNAMIC_DISPATCH(max_lanes)();
  // Narrower vectors are faster, if it does not take more rounds of them.
  while (width > 8 && lanes.size() <= width / 2 * threads) width /= 2;
  const size_t groups = (lanes.size() + width - 1) / width;
  if (scratch_.size() < groups) scratch_.resize(groups);
  pool_.parallel_for(static_cast<int64_t>(groups), [&](int64_t group) {
    const auto g = static_cast<size_t>(group);
    const size_t first = lanes.size() * g / groups;
    const size_t last = lanes.size() * (g + 1) / groups;
    scratch_[g].run(trellis_, width, lanes.subspan(first, last - first), y.data(), m.data());
  });
}

void Viterbi::quantize(std::span<const float> y, int64_t segment_rows, std::span<int32_t> m) {
  assert(y.size() == m.size() && segment_rows > 0);
  std::vector<Lane> blocks;
  std::vector<Lane> looks;  // at the cut between block `cut[i]` and the one before
  std::vector<size_t> cuts;
  for (size_t begin = 0; begin < y.size(); begin += static_cast<size_t>(segment_rows)) {
    const size_t rows = std::min(y.size() - begin, static_cast<size_t>(segment_rows));
    const size_t parts =
        rows <= kWholeRows ? 1 : static_cast<size_t>((rows + kBlockRows / 2) / kBlockRows);
    for (size_t part = 0; part < parts; ++part) {
      const size_t from = rows * part / parts;
      const size_t to = rows * (part + 1) / parts;
      if (part > 0) {
        const size_t ahead = std::min(kLookRows, rows - from);
        const size_t behind = std::min(kLookRows, from);
        cuts.push_back(blocks.size());
        looks.push_back({.begin = begin + from - behind,
                         .rows = behind + ahead,
                         .start = behind == from ? 0 : kAny,
                         .end = kAny,
                         .back = ahead});
      }
      blocks.push_back(
          {.begin = begin + from, .rows = to - from, .start = part == 0 ? 0 : kAny, .end = kAny});
    }
  }
  run(looks, y, {});
  for (size_t i = 0; i < cuts.size(); ++i)
    blocks[cuts[i]].start = blocks[cuts[i] - 1].end = looks[i].state;
  run(blocks, y, m);
}

void viterbi_reference(const Trellis& trellis, std::span<const float> y, int64_t segment_rows,
                       std::span<int32_t> m) {
  assert(y.size() == m.size() && segment_rows > 0);
  const auto states = static_cast<size_t>(trellis.states);
  const auto nearest = [](double at, int coset) {
    return coset + 4 * static_cast<int32_t>(round_to_integer((2 * at - coset) / 4));
  };
  for (size_t begin = 0; begin < y.size(); begin += static_cast<size_t>(segment_rows)) {
    const size_t rows = std::min(y.size() - begin, static_cast<size_t>(segment_rows));
    std::vector<double> metric(states, std::numeric_limits<double>::infinity());
    metric[0] = 0;
    std::vector<std::vector<uint8_t>> decision(rows, std::vector<uint8_t>(states));
    for (size_t i = 0; i < rows; ++i) {
      const double at = held(y[begin + i]);
      std::vector<double> now(states);
      for (size_t t = 0; t < states; ++t) {
        double reached[2];
        for (int b = 0; b < 2; ++b) {
          const int s = trellis.previous(static_cast<int>(t), b);
          const double error = at - 0.5 * nearest(at, (s & 1) + 2 * b);
          reached[b] = metric[static_cast<size_t>(s)] + error * error;
        }
        decision[i][t] = reached[1] < reached[0] ? 1 : 0;
        now[t] = reached[decision[i][t]];
      }
      metric = now;
    }
    int state = static_cast<int>(std::min_element(metric.begin(), metric.end()) - metric.begin());
    for (size_t i = rows; i-- > 0;) {
      const int b = decision[i][static_cast<size_t>(state)];
      state = trellis.previous(state, b);
      m[begin + i] = nearest(held(y[begin + i]), (state & 1) + 2 * b);
    }
  }
}

}  // namespace watersic
#endif  // HWY_ONCE
