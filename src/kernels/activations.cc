#include "kernels/activations.h"

#include <cassert>
#include <cmath>
#include <cstddef>

#include "kernels/activations_scalar.h"

// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activations.cc"
#include <hwy/foreach_target.h>  // this file once for each instruction set; comes first

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace watersic::kernels::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, 16>;
using Vector = hn::Vec<Tag>;
constexpr size_t kWidth = hn::MaxLanes(Tag());

HWY_INLINE Vector exponentials(Vector x) {
  using E = Exponential;
  const Tag d;
  const hn::RebindToSigned<Tag> integers;
  const Vector held = hn::Min(hn::Max(x, hn::Set(d, E::kLowest)), hn::Set(d, E::kHighest));
  const Vector round = hn::Set(d, E::kRound);
  const Vector n = hn::Sub(hn::Add(hn::Mul(held, hn::Set(d, E::kLog2E)), round), round);
  const Vector r = hn::Sub(hn::Sub(held, hn::Mul(n, hn::Set(d, E::kLn2High))),
                           hn::Mul(n, hn::Set(d, E::kLn2Low)));
  Vector y = hn::Set(d, E::kTerms[0]);
  for (int i = 1; i < 6; ++i) y = hn::Add(hn::Mul(y, r), hn::Set(d, E::kTerms[i]));
  y = hn::Add(hn::Add(hn::Mul(y, hn::Mul(r, r)), r), hn::Set(d, 1.0F));
  const auto whole = hn::ConvertTo(integers, n);
  const auto half = hn::ShiftRight<1>(whole);
  const auto power = [&](auto exponent) HWY_ATTR {
    return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(exponent, hn::Set(integers, 127))));
  };
  y = hn::Mul(hn::Mul(y, power(half)), power(hn::Sub(whole, half)));
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

// Sums in float64 of kSumLanes lanes, element i in lane i % kSumLanes.
class Sums {
 public:
  HWY_INLINE Sums() {
    for (auto& part : parts_) part = hn::Zero(Wide());
  }
  // kSumLanes values.
  template <class F>
  HWY_INLINE void add(const float* x, const F& of) {
    for (size_t p = 0; p < kParts; ++p) {
      const auto value = hn::PromoteTo(Wide(), hn::LoadU(Narrow(), x + p * kWide));
      parts_[p] = hn::Add(parts_[p], of(value));
    }
  }
  HWY_INLINE void store(double* lanes) const {
    for (size_t p = 0; p < kParts; ++p) hn::StoreU(parts_[p], Wide(), lanes + p * kWide);
  }

 private:
  using Wide = hn::CappedTag<double, kSumLanes>;
  using Narrow = hn::Rebind<float, Wide>;
  static constexpr size_t kWide = hn::MaxLanes(Wide());
  static constexpr size_t kParts = kSumLanes / kWide;
  hn::Vec<Wide> parts_[kParts];
};

void normalize(const float* x, const float* weight, double epsilon, float* y, size_t count) {
  const Tag d;
  Sums squares;
  size_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes)
    squares.add(x + i, [](auto v) HWY_ATTR { return hn::Mul(v, v); });
  double lanes[kSumLanes];
  squares.store(lanes);
  for (size_t lane = 0; i < count; ++i, ++lane)
    lanes[lane] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double mean = sum_of_lanes(lanes) / static_cast<double>(count);
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
  size_t j = 0;
  for (; j + kWidth <= count; j += kWidth)
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + j), hn::Set(d, scale)), hn::LoadU(d, weight + j)),
               d, y + j);
  for (; j < count; ++j) y[j] = x[j] * scale * weight[j];
}

void soften(float* x, size_t count) {
  const Tag d;
  float top = x[0];
  size_t i = 0;
  if (count >= kWidth) {
    Vector tops = hn::LoadU(d, x);
    for (i = kWidth; i + kWidth <= count; i += kWidth) tops = hn::Max(tops, hn::LoadU(d, x + i));
    top = hn::GetLane(hn::MaxOfLanes(d, tops));
  }
  for (; i < count; ++i) top = std::max(top, x[i]);
  size_t j = 0;
  for (; j + kWidth <= count; j += kWidth)
    hn::StoreU(exponentials(hn::Sub(hn::LoadU(d, x + j), hn::Set(d, top))), d, x + j);
  for (; j < count; ++j) x[j] = exponential_of(x[j] - top);
  Sums sums;
  size_t k = 0;
  for (; k + kSumLanes <= count; k += kSumLanes) sums.add(x + k, [](auto v) HWY_ATTR { return v; });
  double lanes[kSumLanes];
  sums.store(lanes);
  for (size_t lane = 0; k < count; ++k, ++lane) lanes[lane] += static_cast<double>(x[k]);
  const auto scale = static_cast<float>(1.0 / sum_of_lanes(lanes));
  size_t l = 0;
  for (; l + kWidth <= count; l += kWidth)
    hn::StoreU(hn::Mul(hn::LoadU(d, x + l), hn::Set(d, scale)), d, x + l);
  for (; l < count; ++l) x[l] *= scale;
}

void gate(float* gates, const float* up, size_t count) {
  const Tag d;
  size_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    const Vector g = hn::LoadU(d, gates + i);
    const Vector below = hn::Add(hn::Set(d, 1.0F), exponentials(hn::Neg(g)));
    hn::StoreU(hn::Mul(hn::Div(g, below), hn::LoadU(d, up + i)), d, gates + i);
  }
  for (; i < count; ++i) gates[i] = gated(gates[i], up[i]);
}

void turn(const float* cosines, const float* sines, float* head, size_t half) {
  const Tag d;
  size_t i = 0;
  for (; i + kWidth <= half; i += kWidth) {
    const Vector a = hn::LoadU(d, head + i), b = hn::LoadU(d, head + half + i);
    const Vector cosine = hn::LoadU(d, cosines + i), sine = hn::LoadU(d, sines + i);
    hn::StoreU(hn::Sub(hn::Mul(a, cosine), hn::Mul(b, sine)), d, head + i);
    hn::StoreU(hn::Add(hn::Mul(b, cosine), hn::Mul(a, sine)), d, head + half + i);
  }
  for (; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cosines[i] - b * sines[i];
    head[i + half] = b * cosines[i] + a * sines[i];
  }
}

}  // namespace
}  // namespace watersic::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic::kernels {
namespace {

HWY_EXPORT(normalize);
HWY_EXPORT(soften);
HWY_EXPORT(gate);
HWY_EXPORT(turn);

}  // namespace

float exponential(float x) { return exponential_of(x); }

void rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon,
              std::span<float> y) {
  assert(x.size() == weight.size() && x.size() == y.size());
  HWY_DYNAMIC_DISPATCH(normalize)(x.data(), weight.data(), epsilon, y.data(), x.size());
}

void softmax(std::span<float> x) {
  if (!x.empty()) HWY_DYNAMIC_DISPATCH(soften)(x.data(), x.size());
}

void gate_with(std::span<float> gates, std::span<const float> up) {
  assert(gates.size() == up.size());
  HWY_DYNAMIC_DISPATCH(gate)(gates.data(), up.data(), gates.size());
}

void rotate_pairs(std::span<const float> cosines, std::span<const float> sines,
                  std::span<float> head) {
  assert(cosines.size() * 2 == head.size() && sines.size() * 2 == head.size());
  HWY_DYNAMIC_DISPATCH(turn)(cosines.data(), sines.data(), head.data(), cosines.size());
}

}  // namespace watersic::kernels
#endif
