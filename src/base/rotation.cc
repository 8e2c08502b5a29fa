#include "base/rotation.h"

#include <bit>
#include <cassert>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/rng.h"

namespace watersic {
namespace {

// The normalised Walsh-Hadamard transform of a power of two of numbers: butterflies (a + b, a - b)
// at distance 1, 2, 4, ..., then one product each.
template <class T>
void hadamard(std::span<T> x) {
  const auto n = static_cast<int64_t>(x.size());
  for (int64_t half = 1; half < n; half *= 2) {
    for (int64_t i = 0; i < n; i += 2 * half) {
      T* a = x.data() + i;
      T* b = a + half;
      for (int64_t j = 0; j < half; ++j) {
        const T sum = a[j] + b[j];
        b[j] = a[j] - b[j];
        a[j] = sum;
      }
    }
  }
  const T scale = static_cast<T>(1.0 / std::sqrt(static_cast<double>(n)));
  for (T& v : x) v *= scale;
}

}  // namespace

RandomRotation::RandomRotation(int64_t n, uint64_t seed)
    : n_(n), power_(n > 0 ? static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n))) : 0) {
  Rng rng(seed);
  for (Round& round : rounds_) {
    round.from.resize(static_cast<size_t>(n));
    std::iota(round.from.begin(), round.from.end(), 0);
    for (int64_t i = n - 1; i > 0; --i) {
      std::swap(round.from[static_cast<size_t>(i)],
                round.from[rng.below(static_cast<uint64_t>(i) + 1)]);
    }
    for (auto* signs : {&round.sign, &round.again})
      for (int64_t i = 0; i < n; ++i) signs->push_back(rng.bits() >> 63 ? -1 : 1);
  }
}

template <class T>
void RandomRotation::apply(std::span<T> x) const {
  assert(static_cast<int64_t>(x.size()) == n_);
  std::vector<T> y(x.size());
  const auto power = static_cast<size_t>(power_);
  for (const Round& round : rounds_) {
    for (size_t j = 0; j < x.size(); ++j)
      y[j] = static_cast<T>(round.sign[j]) * x[static_cast<size_t>(round.from[j])];
    hadamard(std::span(y).first(power));
    if (power_ < n_) {
      for (size_t j = 0; j < y.size(); ++j) y[j] *= static_cast<T>(round.again[j]);
      hadamard(std::span(y).last(power));
    }
    std::copy(y.begin(), y.end(), x.begin());
  }
}

template <class T>
void RandomRotation::undo(std::span<T> x) const {
  assert(static_cast<int64_t>(x.size()) == n_);
  std::vector<T> y(x.begin(), x.end());
  const auto power = static_cast<size_t>(power_);
  for (const Round* round : {&rounds_[1], &rounds_[0]}) {
    if (power_ < n_) {
      hadamard(std::span(y).last(power));
      for (size_t j = 0; j < y.size(); ++j) y[j] *= static_cast<T>(round->again[j]);
    }
    hadamard(std::span(y).first(power));
    for (size_t j = 0; j < x.size(); ++j)
      x[static_cast<size_t>(round->from[j])] = static_cast<T>(round->sign[j]) * y[j];
    std::copy(x.begin(), x.end(), y.begin());
  }
}

template void RandomRotation::apply(std::span<float>) const;
template void RandomRotation::apply(std::span<double>) const;
template void RandomRotation::undo(std::span<float>) const;
template void RandomRotation::undo(std::span<double>) const;

}  // namespace watersic
