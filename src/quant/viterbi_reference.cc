#include <algorithm>
#include <cassert>
#include <limits>
#include <vector>

#include "quant/round.h"
#include "quant/viterbi.h"

namespace watersic {

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
      const double at = std::clamp(y[begin + i], -kMostMagnitude, kMostMagnitude);
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
      m[begin + i] =
          nearest(std::clamp(y[begin + i], -kMostMagnitude, kMostMagnitude), (state & 1) + 2 * b);
    }
  }
}

}  // namespace watersic
