// Inputs times scales, and their rounding, for each target.
#if defined(WATERSIC_KERNELS_ROUNDING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WATERSIC_KERNELS_ROUNDING_INL_H_
#undef WATERSIC_KERNELS_ROUNDING_INL_H_
#else
#define WATERSIC_KERNELS_ROUNDING_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace watersic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Columns come in fours, which vectors of four floats divide, whatever the target.
using D = hn::CappedTag<float, 4>;
using DI = hn::RebindToSigned<D>;

// z := x[source[v]] * scale[v] of `count` columns; the largest magnitude.
inline float Scaled(const float* x, const int32_t* source, const float* scale, int64_t count,
                    float* z) {
  for (int64_t v = 0; v < count; ++v) z[v] = x[source[v]] * scale[v];
  const D d;
  auto largest = hn::Zero(d);
  for (int64_t v = 0; v < count; v += static_cast<int64_t>(hn::Lanes(d)))
    largest = hn::Max(largest, hn::Abs(hn::LoadU(d, z + v)));
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// The nearest integers of z / scale, four at a time: write(v, the four from v on).
template <class Write>
HWY_INLINE void Rounded(float scale, int32_t limit, int64_t count, const float* z,
                        const Write& write) {
  const D d;
  const DI di;
  const auto inverse = hn::Set(d, scale > 0 ? 1 / scale : 0.0F);
  const auto most = hn::Set(di, limit), least = hn::Set(di, -limit);
  for (int64_t v = 0; v < count; v += static_cast<int64_t>(hn::Lanes(d))) {
    const auto nearest = hn::NearestInt(hn::Mul(hn::LoadU(d, z + v), inverse));
    write(v, hn::Min(most, hn::Max(least, nearest)));
  }
}

template <class V>
HWY_INLINE void Store16(V rounded, int16_t* to) {
  const hn::Rebind<int16_t, D> d;
  hn::StoreU(hn::DemoteTo(d, rounded), d, to);
}

}  // namespace watersic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // WATERSIC_KERNELS_ROUNDING_INL_H_
