#include "quant/rounder.h"

#include <algorithm>

#include "quant/round.h"
#include "quant/sic.h"

namespace watersic {

Rounder::Rounder(ThreadPool& pool, int trellis, int64_t segment_rows)
    : pool_(pool), segment_rows_(segment_rows) {
  if (trellis > 0) viterbi_ = std::make_unique<Viterbi>(pool, Trellis::of(trellis));
}

template <class T>
void Rounder::round(int64_t i, std::span<const T> y, double step, std::span<int32_t> z) {
  const auto rows = static_cast<int64_t>(y.size());
  const T inverse = static_cast<T>(1.0 / step);
  if (viterbi_) {
    scaled_.resize(y.size());
    for (size_t k = 0; k < y.size(); ++k) scaled_[k] = static_cast<float>(y[k] * inverse);
    if (states_.empty()) {
      viterbi_->quantize(scaled_, segment_rows_, z);
    } else {
      int& state = states_[static_cast<size_t>(i)];
      state = viterbi_->follow(scaled_, state, z);
    }
    return;
  }
  pool_.parallel_for(tile_count(rows, kRowTile), [&](int64_t tile) {
    const int64_t end = std::min(rows, (tile + 1) * kRowTile);
    for (int64_t k = tile * kRowTile; k < end; ++k) {
      z.data()[k] = static_cast<int32_t>(clamp_to_int32(round_to_integer(y.data()[k] * inverse)));
    }
  });
}

template void Rounder::round(int64_t, std::span<const float>, double, std::span<int32_t>);
template void Rounder::round(int64_t, std::span<const double>, double, std::span<int32_t>);

}  // namespace watersic
