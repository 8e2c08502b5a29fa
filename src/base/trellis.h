// The trellis that encoder and decoder share: which integers a column may hold, row after row.
//
// A column is a path through the states, from state 0. In state s a row's value is z = m / 2, where
// m = 2k + q, q = s & 1 and k any integer; the parity b = k & 1 chooses the next state. So the four
// cosets m = q + 2b (mod 4) of the integers label the branches, and two of them leave each state.
// The codes are Ungerboeck's for one dimension (Channel coding with multilevel/phase signals, IEEE
// Trans. Inf. Theory 28, 1982, table I), h0 and h1 the coefficients of his parity-check
// polynomials.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <span>
#include <string>

#include "watersic/error.h"

namespace watersic {

struct Trellis {
  int states;  // a power of two
  int h0, h1;  // h0 of degree log2(states), h1 of a lower degree

  // The code of 4, 8, 16, 32, 64, 128 or 256 states.
  static const Trellis& of(int states);

  int next(int state, int b) const {
    return (state >> 1) ^ ((state & 1) != 0 ? h0 >> 1 : 0) ^ (b != 0 ? h1 >> 1 : 0);
  }
  // The state that parity b leads from to `state`. The top bit of h0 marks the states that come
  // from an odd one.
  int previous(int state, int b) const {
    const int q = state >= states / 2 ? 1 : 0;
    return 2 * (state ^ (q != 0 ? h0 >> 1 : 0) ^ (b != 0 ? h1 >> 1 : 0)) + q;
  }

  // m of a row whose integer is k; moves on to the next row's state. Exact for |k| < 2^30; other k
  // (from a damaged file, say) give some m, never undefined behaviour.
  int32_t step(int& state, int32_t k) const {
    const auto m = static_cast<int32_t>(2U * static_cast<uint32_t>(k) + (state & 1U));
    state = next(state, k & 1);
    return m;
  }
  // A whole segment from state 0, k to m. The way back needs no trellis: k = m >> 1, q = m & 1.
  void decode(std::span<const int32_t> k, std::span<int32_t> m) const {
    assert(k.size() == m.size());
    int state = 0;
    for (size_t i = 0; i < k.size(); ++i) m[i] = step(state, k[i]);
  }
};

inline const Trellis& Trellis::of(int states) {
  static constexpr std::array<Trellis, 7> kCodes = {{{4, 05, 02},
                                                     {8, 013, 04},
                                                     {16, 023, 04},
                                                     {32, 045, 010},
                                                     {64, 0103, 024},
                                                     {128, 0235, 0126},
                                                     {256, 0515, 0362}}};
  for (const Trellis& code : kCodes)
    if (code.states == states) return code;
  throw Error("trellis: expected 4, 8, 16, 32, 64, 128 or 256 states, found " +
              std::to_string(states));
}

}  // namespace watersic
