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

// Decisions of this many states make a word of each lane, a bit each.
constexpr int kWordStates = 16;
constexpr int words_of(int states) { return (states + kWordStates - 1) / kWordStates; }

struct ForwardPass {
  const Trellis* trellis;
  int64_t rows;
  const int16_t* position;  // rows x lanes: y on a circle of 4 integers, in [-2 kUnit, 2 kUnit]
  int16_t* metric;          // states x lanes; at the end each state's metric
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
void run_forward(D d, const ForwardPass& pass) {
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

  int16_t* HWY_RESTRICT old = pass.metric;
  int16_t* HWY_RESTRICT now = pass.spare;
  for (size_t s = 0; s < states; ++s)
    hn::Store(hn::Set(d, static_cast<int16_t>(s == 0 ? 0 : kUnreached)), d, old + s * lanes);

  for (int64_t row = 0; row < pass.rows; ++row) {
    // 32 units of 16 bits go around the circle: a difference wraps as it should.
    const V p = hn::ShiftLeft<5>(hn::Load(d, pass.position + static_cast<size_t>(row) * lanes));
    const V from0 = hn::Abs(hn::ShiftRight<5>(p));
    const V from1 = hn::Abs(hn::ShiftRight<5>(hn::Sub(p, hn::Set(d, kUnit << 5))));
    const V around = hn::Set(d, 2 * kUnit);
    // [q][b]: coset q + 2 b.
    const V metric[2][2] = {{branch_metric(from0), branch_metric(hn::Sub(around, from0))},
                            {branch_metric(from1), branch_metric(hn::Sub(around, from1))}};
    uint16_t* HWY_RESTRICT decision = pass.decision + static_cast<size_t>(row) * words * lanes;
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
    std::swap(old, now);
  }
  if (old != pass.metric) std::copy(old, old + states * lanes, pass.metric);
}

template <class D>
void forward_in(D d, const ForwardPass& pass) {
  switch (pass.trellis->states) {
    case 4:
      return run_forward<4>(d, pass);
    case 8:
      return run_forward<8>(d, pass);
    default:
      return run_forward<kWordStates>(d, pass);
  }
}

size_t max_lanes() { return hn::Lanes(hn::CappedTag<int16_t, 32>()); }

// lanes: max_lanes(), or its half or quarter where that is 8 or more.
void forward(size_t lanes, const ForwardPass& pass) {
  const hn::CappedTag<int16_t, 32> wide;
  const hn::CappedTag<int16_t, 16> middle;
  const hn::CappedTag<int16_t, 8> narrow;
  if (lanes == hn::Lanes(wide)) return forward_in(wide, pass);
  if (lanes == hn::Lanes(middle)) return forward_in(middle, pass);
  assert(lanes == hn::Lanes(narrow));
  forward_in(narrow, pass);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace watersic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {
namespace {

HWY_EXPORT(max_lanes);
HWY_EXPORT(forward);

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

}  // namespace

struct Viterbi::Scratch {
  // Grows to what is asked for; what it held is lost.
  template <class T>
  struct Buffer {
    hwy::AlignedFreeUniquePtr<T[]> data;
    size_t size = 0;
    T* of(size_t count) {
      if (count > size) {
        data = hwy::AllocateAligned<T>(count);
        if (data == nullptr) throw std::bad_alloc();
        size = count;
      }
      return data.get();
    }
  };
  Buffer<int16_t> position, metric, spare;
  Buffer<uint16_t> decision;
  std::array<std::array<uint8_t, 2>, kMaxStates> previous;
  // The segments of equal length at y, as many as lanes or fewer.
  void run(const Trellis& trellis, size_t lanes, size_t segments, size_t rows, const float* y,
           int32_t* m);
};

Viterbi::Viterbi(const Trellis& trellis)
    : trellis_(trellis), scratch_(std::make_unique<Scratch>()) {
  for (int s = 0; s < trellis.states; ++s)
    for (int b = 0; b < 2; ++b)
      scratch_->previous[static_cast<size_t>(s)][static_cast<size_t>(b)] =
          static_cast<uint8_t>(trellis.previous(s, b));
}
Viterbi::~Viterbi() = default;
Viterbi::Viterbi(Viterbi&&) noexcept = default;
Viterbi& Viterbi::operator=(Viterbi&&) noexcept = default;

void Viterbi::Scratch::run(const Trellis& trellis, size_t lanes, size_t segments, size_t rows,
                           const float* y, int32_t* m) {
  const auto states = static_cast<size_t>(trellis.states);
  const auto words = static_cast<size_t>(words_of(trellis.states));
  const ForwardPass pass = {.trellis = &trellis,
                            .rows = static_cast<int64_t>(rows),
                            .position = position.of(rows * lanes),
                            .metric = metric.of(states * lanes),
                            .spare = spare.of(states * lanes),
                            .decision = decision.of(rows * words * lanes)};
  int16_t* place = position.data.get();
  for (size_t lane = 0; lane < lanes; ++lane)
    for (size_t i = 0; i < rows; ++i)
      place[i * lanes + lane] = lane < segments ? position_of(y[lane * rows + i]) : int16_t{0};
  HWY_DYNAMIC_DISPATCH(forward)(lanes, pass);

  // Back along the best path of each lane; m holds the coset of each row at first.
  std::array<size_t, 32> state;
  for (size_t lane = 0; lane < segments; ++lane) {
    state[lane] = 0;
    for (size_t s = 1; s < states; ++s)
      if (pass.metric[s * lanes + lane] < pass.metric[state[lane] * lanes + lane]) state[lane] = s;
  }
  for (size_t i = rows; i-- > 0;) {
    const uint16_t* decided = pass.decision + i * words * lanes;
    for (size_t lane = 0; lane < segments; ++lane) {
      const size_t s = state[lane];
      const size_t b = (decided[s / kWordStates * lanes + lane] >> (s % kWordStates)) & 1U;
      state[lane] = previous[s][b];
      m[lane * rows + i] = static_cast<int32_t>((state[lane] & 1U) + 2 * b);
    }
  }
  for (size_t i = 0; i < segments * rows; ++i) m[i] = nearest_in_coset(y[i], m[i]);
}

void Viterbi::quantize(std::span<const float> y, int64_t segment_rows, std::span<int32_t> m) {
  assert(y.size() == m.size() && segment_rows > 0);
  const auto rows = static_cast<size_t>(segment_rows);
  const size_t whole = y.size() / rows;
  for (size_t done = 0; done < whole;) {
    const size_t left = whole - done;
    size_t lanes = HWY_DYNAMIC_DISPATCH(max_lanes)();
    while (lanes > 8 && lanes / 2 >= left) lanes /= 2;
    const size_t segments = std::min(left, lanes);
    scratch_->run(trellis_, lanes, segments, rows, y.data() + done * rows, m.data() + done * rows);
    done += segments;
  }
  const size_t rest = whole * rows;
  if (rest < y.size()) {
    const size_t lanes = std::min<size_t>(8, HWY_DYNAMIC_DISPATCH(max_lanes)());
    scratch_->run(trellis_, lanes, 1, y.size() - rest, y.data() + rest, m.data() + rest);
  }
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
