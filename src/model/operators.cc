#include "model/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "watersic/error.h"

namespace watersic {

void by_rows(ThreadPool& pool, int64_t rows, const std::function<void(int64_t)>& body) {
  constexpr int64_t kTile = 64;
  pool.parallel_for(tile_count(rows, kTile), [&](int64_t tile) {
    const int64_t end = std::min(rows, (tile + 1) * kTile);
    for (int64_t i = tile * kTile; i < end; ++i) body(i);
  });
}

void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y) {
  assert(x.size() == weight.size() && x.size() == y.size());
  // Four sums, so that the additions need not wait for each other.
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= x.size(); i += 4)
    for (size_t k = 0; k < 4; ++k)
      sums[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
  for (; i < x.size(); ++i) sums[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double mean = (sums[0] + sums[1] + sums[2] + sums[3]) / static_cast<double>(x.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
  for (size_t j = 0; j < x.size(); ++j) y[j] = x[j] * scale * weight[j];
}

void rms_norm(ThreadPool& pool, MatrixView<const float> X, std::span<const float> weight,
              double epsilon, MatrixView<float> Y) {
  by_rows(pool, X.rows(), [&](int64_t i) { rms_norm(X.row(i), weight, epsilon, Y.row(i)); });
}

void softmax(std::span<float> x) {
  if (x.empty()) return;
  const float top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float& value : x) {
    value = std::exp(value - top);
    sum += static_cast<double>(value);
  }
  const auto scale = static_cast<float>(1.0 / sum);
  for (float& value : x) value *= scale;
}

void gate_with(std::span<float> gate, std::span<const float> up) {
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

const Operators& Operators::reference() {
  static const Operators kReference;
  return kReference;
}

void Operators::rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
                         std::span<float> y) const {
  watersic::rms_norm(x, weight, epsilon, y);
}
void Operators::softmax(std::span<float> x) const { watersic::softmax(x); }
void Operators::gate_with(std::span<float> gate, std::span<const float> up) const {
  watersic::gate_with(gate, up);
}
void Operators::rotate(const RopeTable& rope, int64_t position, std::span<float> head) const {
  rope.rotate(position, head);
}

void check_finite(ThreadPool& pool, int64_t block, const char* what, MatrixView<const float> X) {
  by_rows(pool, X.rows(), [&](int64_t i) {
    const auto row = X.row(i);
    uint32_t bad = 0;  // an exponent of all ones; without branches, so that it vectorizes
    for (const float x : row)
      bad |= static_cast<uint32_t>((std::bit_cast<uint32_t>(x) & 0x7F800000) == 0x7F800000);
    if (bad == 0) return;
    const auto j = std::ranges::find_if(row, [](float x) { return !std::isfinite(x); });
    throw Error(
        fmt::format("block {}: {}: expected finite activations, found {} at token {}, feature {}",
                    block, what, *j, i, j - row.begin()));
  });
}

}  // namespace watersic
