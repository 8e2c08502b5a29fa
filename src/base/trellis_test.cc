// The trellis: its state machine, and that it is a good code.
#include "base/trellis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"

namespace watersic {
namespace {

constexpr std::array kStates = {4, 8, 16, 32, 64, 128, 256};

TEST(Trellis, PreviousUndoesNext) {
  for (const int states : kStates) {
    const Trellis& trellis = Trellis::of(states);
    EXPECT_EQ(trellis.states, states);
    for (int s = 0; s < states; ++s) {
      EXPECT_NE(trellis.next(s, 0), trellis.next(s, 1));
      for (int b = 0; b < 2; ++b) {
        const int t = trellis.next(s, b);
        ASSERT_GE(t, 0);
        ASSERT_LT(t, states);
        EXPECT_EQ(trellis.previous(t, b), s);
      }
    }
  }
}

// The Viterbi algorithm bounds its metrics by this.
TEST(Trellis, EveryStateReachesEveryOtherInAsManyRowsAsItHasBits) {
  for (const int states : kStates) {
    const Trellis& trellis = Trellis::of(states);
    for (int from = 0; from < states; ++from) {
      std::vector<int> reached = {from};
      for (int bit = 1; bit < states; bit *= 2) {
        std::vector<int> next;
        for (const int s : reached)
          for (int b = 0; b < 2; ++b) next.push_back(trellis.next(s, b));
        reached = next;
      }
      std::sort(reached.begin(), reached.end());
      for (int s = 0; s < states; ++s) ASSERT_EQ(reached[static_cast<size_t>(s)], s);
    }
  }
}

// Two paths that part in one state and meet again differ by a word of the code. The least squared
// distance between two values of m on such paths, or on parallel branches (16), is what Ungerboeck
// chose the codes for: table I gives it as 9, 10, 11, 13, 14, 16 and 16 squared steps.
TEST(Trellis, FreeDistanceIsThePublishedOne) {
  const std::array expected = {9, 10, 11, 13, 14, 16, 16};
  for (size_t code = 0; code < kStates.size(); ++code) {
    const Trellis& trellis = Trellis::of(kStates[code]);
    const auto states = static_cast<size_t>(trellis.states);
    // The code is linear up to the labels' weights: the distance from the path of zeros decides,
    // with the weight of a difference of cosets 0, 1, 2, 3 being 0, 1, 4, 1.
    constexpr int kFar = 1 << 20;
    constexpr std::array kWeight = {0, 1, 4, 1};
    std::vector<int> distance(states, kFar);
    int least = 16;
    distance[static_cast<size_t>(trellis.next(0, 1))] = kWeight[2];
    for (int row = 0; row < 64; ++row) {
      std::vector<int> next(states, kFar);
      for (int s = 1; s < trellis.states; ++s)
        for (int b = 0; b < 2; ++b) {
          int& d = next[static_cast<size_t>(trellis.next(s, b))];
          d = std::min(
              d, distance[static_cast<size_t>(s)] + kWeight[static_cast<size_t>((s & 1) + 2 * b)]);
        }
      least = std::min(least, next[0]);
      distance = next;
    }
    EXPECT_EQ(least, expected[code]) << trellis.states << " states";
  }
}

TEST(Trellis, DecodeFollowsTheStates) {
  Rng rng(5);
  for (const int states : kStates) {
    const Trellis& trellis = Trellis::of(states);
    std::vector<int32_t> k(1000);
    std::vector<int32_t> m(1000);
    for (int32_t& x : k) x = static_cast<int32_t>(rng.below(101)) - 50;
    trellis.decode(k, m);
    int state = 0;
    for (size_t i = 0; i < k.size(); ++i) {
      EXPECT_EQ(m[i], 2 * k[i] + (state & 1));
      EXPECT_EQ(m[i] >> 1, k[i]);
      state = trellis.next(state, k[i] & 1);
    }
  }
  Trellis::of(4).decode({}, {});
}

TEST(Trellis, ExtremeIntegersWrap) {
  int state = 1;
  EXPECT_EQ(Trellis::of(8).step(state, (1 << 30) - 1), std::numeric_limits<int32_t>::max());
  state = 0;
  EXPECT_EQ(Trellis::of(8).step(state, -(1 << 30)), std::numeric_limits<int32_t>::min());
  state = 0;
  EXPECT_EQ(Trellis::of(8).step(state, std::numeric_limits<int32_t>::min()), 0);
}

TEST(Trellis, OtherNumbersOfStatesAreErrors) {
  for (const int states : {-4, 0, 1, 2, 3, 5, 12, 512, 1 << 30}) {
    try {
      Trellis::of(states);
      FAIL() << states;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(std::to_string(states)), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace watersic
