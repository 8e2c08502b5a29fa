#include "kernels/half_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/half_product.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cassert>

#include "base/half.h"

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using D16 = hn::Rebind<uint16_t, D>;
using V = hn::Vec<D>;

HWY_INLINE V Widened(const uint16_t* from, HalfKind kind) {
  const D d;
  const auto bits = hn::LoadU(D16(), from);
  if (kind == HalfKind::kBf16) {
    const hn::Rebind<uint32_t, D> d32;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
  }
  const hn::Rebind<hwy::float16_t, D> dh;
  return hn::PromoteTo(d, hn::BitCast(dh, bits));
}

// kRows rows at once, which share the loads of x.
template <HalfKind kKind, size_t kRows>
HWY_INLINE void Rows(const uint16_t* HWY_RESTRICT W, const float* HWY_RESTRICT x, size_t n,
                     float* out) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  std::array<V, 2 * kRows> sums;
  for (V& sum : sums) sum = hn::Zero(d);
  size_t j = 0;
  for (; j + 2 * lanes <= n; j += 2 * lanes) {
    const V x0 = hn::LoadU(d, x + j), x1 = hn::LoadU(d, x + j + lanes);
    for (size_t r = 0; r < kRows; ++r) {
      sums[2 * r] = hn::MulAdd(Widened(W + r * n + j, kKind), x0, sums[2 * r]);
      sums[2 * r + 1] = hn::MulAdd(Widened(W + r * n + j + lanes, kKind), x1, sums[2 * r + 1]);
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sums[2 * r], sums[2 * r + 1])));
    for (size_t k = j; k < n; ++k) {
      const uint16_t w = W[r * n + k];
      sum += x[k] * (kKind == HalfKind::kBf16 ? float_from_bf16(w) : float_from_half(w));
    }
    out[r] = sum;
  }
}

template <HalfKind kKind>
void Product(const uint16_t* W, const float* x, size_t n, float* out, size_t rows) {
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) Rows<kKind, 4>(W + r * n, x, n, out + r);
  for (; r < rows; ++r) Rows<kKind, 1>(W + r * n, x, n, out + r);
}

void HalfProduct(HalfKind kind, const uint16_t* W, const float* x, size_t n, float* out,
                 size_t rows) {
  kind == HalfKind::kBf16 ? Product<HalfKind::kBf16>(W, x, n, out, rows)
                          : Product<HalfKind::kHalf>(W, x, n, out, rows);
}

void Widen(HalfKind kind, const uint16_t* from, float* to, size_t n) {
  const D d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) hn::StoreU(Widened(from + i, kind), d, to + i);
  for (; i < n; ++i)
    to[i] = kind == HalfKind::kBf16 ? float_from_bf16(from[i]) : float_from_half(from[i]);
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic {

HWY_EXPORT(HalfProduct);
HWY_EXPORT(Widen);

void half_product(HalfKind kind, std::span<const uint16_t> W, std::span<const float> x,
                  std::span<float> out) {
  assert(W.size() == x.size() * out.size());
  HWY_DYNAMIC_DISPATCH(HalfProduct)(kind, W.data(), x.data(), x.size(), out.data(), out.size());
}

void half_product_scalar(HalfKind kind, std::span<const uint16_t> W, std::span<const float> x,
                         std::span<float> out) {
  assert(W.size() == x.size() * out.size());
  for (size_t r = 0; r < out.size(); ++r) {
    double sum = 0;
    for (size_t j = 0; j < x.size(); ++j) {
      const uint16_t w = W[r * x.size() + j];
      sum += static_cast<double>(x[j]) *
             static_cast<double>(kind == HalfKind::kBf16 ? float_from_bf16(w) : float_from_half(w));
    }
    out[r] = static_cast<float>(sum);
  }
}

void widen(HalfKind kind, std::span<const uint16_t> from, std::span<float> to) {
  assert(from.size() == to.size());
  HWY_DYNAMIC_DISPATCH(Widen)(kind, from.data(), to.data(), from.size());
}

}  // namespace watersic
#endif
