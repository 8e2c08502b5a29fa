#include "kernels/attention_rows.h"

#include <algorithm>
#include <cassert>

// Vectors without a size at compile time cannot stand in arrays.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_rows.cc"
#include <hwy/foreach_target.h>  // this file once for each instruction set; comes first

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace watersic::kernels::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::CappedTag<float, kLanes>;
using Vector = hn::Vec<Tag>;
constexpr int64_t kWidth = static_cast<int64_t>(hn::MaxLanes(Tag()));
constexpr int64_t kParts = kLanes / kWidth;  // vectors of kLanes lanes

HWY_INLINE Vector widened(const uint16_t* halves) {
  const hn::Rebind<hwy::float16_t, Tag> narrow;
  return hn::PromoteTo(Tag(), hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(halves)));
}
HWY_INLINE Vector widened(const int8_t* values) {
  const hn::Rebind<int8_t, Tag> narrow;
  const hn::RebindToSigned<Tag> integers;
  return hn::ConvertTo(Tag(), hn::PromoteTo(integers, hn::LoadU(narrow, values)));
}

template <class T>
constexpr bool kScaled = sizeof(T) == 1;

// Rows of queries [first, first + kRows).
template <int64_t kRows, class T>
void scores_of_rows(const HeadPage<T>& page, MatrixView<const float> Q, float scale,
                    MatrixView<float> P, int64_t first) {
  const Tag d;
  const float* q = Q.data() + first * Q.stride();
  for (int64_t t = 0; t < P.cols(); t += kLanes) {
    Vector sums[kRows][kParts];
    for (auto& row : sums)
      for (Vector& sum : row) sum = hn::Zero(d);
    for (int64_t i = 0; i < Q.cols(); ++i) {
      Vector key[kParts];
      for (int64_t p = 0; p < kParts; ++p)
        key[p] = widened(page.keys + i * kPagePositions + t + p * kWidth);
      for (int64_t r = 0; r < kRows; ++r) {
        const Vector query = hn::Set(d, q[r * Q.stride() + i]);
        for (int64_t p = 0; p < kParts; ++p)
          sums[r][p] = hn::Add(sums[r][p], hn::Mul(query, key[p]));
      }
    }
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t p = 0; p < kParts; ++p) {
        Vector score = hn::Mul(sums[r][p], hn::Set(d, scale));
        if constexpr (kScaled<T>)
          score = hn::Mul(score, hn::LoadU(d, page.key_scales + t + p * kWidth));
        hn::StoreU(score, d, P.data() + (first + r) * P.stride() + t + p * kWidth);
      }
    }
  }
}

template <int64_t kRows, class T>
void values_of_rows(const HeadPage<T>& page, MatrixView<const float> P, MatrixView<float> out,
                    int64_t first) {
  const Tag d;
  const float* weights = P.data() + first * P.stride();
  int64_t stride = P.stride();
  float scaled[kScaled<T> ? kRows : 1][kPagePositions];
  if constexpr (kScaled<T>) {
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t t = 0; t < P.cols(); ++t)
        scaled[r][t] = weights[r * P.stride() + t] * page.value_scales[t];
    weights = scaled[0];
    stride = kPagePositions;
  }
  for (int64_t i = 0; i < out.cols(); i += kLanes) {
    Vector sums[kRows][kParts];
    for (auto& row : sums)
      for (Vector& sum : row) sum = hn::Zero(d);
    for (int64_t t = 0; t < P.cols(); ++t) {
      Vector value[kParts];
      for (int64_t p = 0; p < kParts; ++p)
        value[p] = widened(page.values + t * out.cols() + i + p * kWidth);
      for (int64_t r = 0; r < kRows; ++r) {
        const Vector weight = hn::Set(d, weights[r * stride + t]);
        for (int64_t p = 0; p < kParts; ++p)
          sums[r][p] = hn::Add(sums[r][p], hn::Mul(weight, value[p]));
      }
    }
    for (int64_t r = 0; r < kRows; ++r) {
      float* to = out.data() + (first + r) * out.stride() + i;
      for (int64_t p = 0; p < kParts; ++p)
        hn::StoreU(hn::Add(hn::LoadU(d, to + p * kWidth), sums[r][p]), d, to + p * kWidth);
    }
  }
}

template <class T>
void scores(const HeadPage<T>& page, MatrixView<const float> Q, float scale, MatrixView<float> P) {
  int64_t row = 0;
  for (; row + 4 <= P.rows(); row += 4) scores_of_rows<4>(page, Q, scale, P, row);
  for (; row + 2 <= P.rows(); row += 2) scores_of_rows<2>(page, Q, scale, P, row);
  if (row < P.rows()) scores_of_rows<1>(page, Q, scale, P, row);
}

template <class T>
void values(const HeadPage<T>& page, MatrixView<const float> P, MatrixView<float> out) {
  int64_t row = 0;
  for (; row + 4 <= P.rows(); row += 4) values_of_rows<4>(page, P, out, row);
  for (; row + 2 <= P.rows(); row += 2) values_of_rows<2>(page, P, out, row);
  if (row < P.rows()) values_of_rows<1>(page, P, out, row);
}

template <class T>
void keys_of(const HeadPage<T>& page, MatrixView<float> K) {
  const Tag d;
  for (int64_t i = 0; i < K.rows(); ++i) {
    for (int64_t t = 0; t < K.cols(); t += kWidth) {
      Vector key = widened(page.keys + i * kPagePositions + t);
      if constexpr (kScaled<T>) key = hn::Mul(key, hn::LoadU(d, page.key_scales + t));
      hn::StoreU(key, d, K.data() + i * K.stride() + t);
    }
  }
}

template <class T>
void values_of(const HeadPage<T>& page, MatrixView<float> V) {
  const Tag d;
  for (int64_t t = 0; t < V.rows(); ++t) {
    for (int64_t i = 0; i < V.cols(); i += kWidth) {
      Vector value = widened(page.values + t * V.cols() + i);
      if constexpr (kScaled<T>) value = hn::Mul(value, hn::Set(d, page.value_scales[t]));
      hn::StoreU(value, d, V.data() + t * V.stride() + i);
    }
  }
}

void half_scores(const HalfPage& page, MatrixView<const float> Q, float scale,
                 MatrixView<float> P) {
  scores(page, Q, scale, P);
}
void int8_scores(const Int8Page& page, MatrixView<const float> Q, float scale,
                 MatrixView<float> P) {
  scores(page, Q, scale, P);
}
void half_values(const HalfPage& page, MatrixView<const float> P, MatrixView<float> out) {
  values(page, P, out);
}
void int8_values(const Int8Page& page, MatrixView<const float> P, MatrixView<float> out) {
  values(page, P, out);
}
void half_keys_of(const HalfPage& page, MatrixView<float> K) { keys_of(page, K); }
void int8_keys_of(const Int8Page& page, MatrixView<float> K) { keys_of(page, K); }
void half_values_of(const HalfPage& page, MatrixView<float> V) { values_of(page, V); }
void int8_values_of(const Int8Page& page, MatrixView<float> V) { values_of(page, V); }

}  // namespace
}  // namespace watersic::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace watersic::kernels {
namespace {

HWY_EXPORT(half_scores);
HWY_EXPORT(int8_scores);
HWY_EXPORT(half_values);
HWY_EXPORT(int8_values);
HWY_EXPORT(half_keys_of);
HWY_EXPORT(int8_keys_of);
HWY_EXPORT(half_values_of);
HWY_EXPORT(int8_values_of);

// That all reads and writes stay inside.
void check_scores([[maybe_unused]] MatrixView<const float> Q,
                  [[maybe_unused]] MatrixView<float> P) {
  assert(P.rows() == Q.rows() && P.cols() % kLanes == 0 && P.cols() <= kPagePositions);
}
void check_values([[maybe_unused]] MatrixView<const float> P,
                  [[maybe_unused]] MatrixView<float> out) {
  assert(P.rows() == out.rows() && P.cols() <= kPagePositions && out.cols() % kLanes == 0);
}

}  // namespace

void key_scores(const HalfPage& page, MatrixView<const float> Q, float scale, MatrixView<float> P) {
  check_scores(Q, P);
  HWY_DYNAMIC_DISPATCH(half_scores)(page, Q, scale, P);
}
void key_scores(const Int8Page& page, MatrixView<const float> Q, float scale, MatrixView<float> P) {
  check_scores(Q, P);
  HWY_DYNAMIC_DISPATCH(int8_scores)(page, Q, scale, P);
}
void add_values(const HalfPage& page, MatrixView<const float> P, MatrixView<float> out) {
  check_values(P, out);
  HWY_DYNAMIC_DISPATCH(half_values)(page, P, out);
}
void add_values(const Int8Page& page, MatrixView<const float> P, MatrixView<float> out) {
  check_values(P, out);
  HWY_DYNAMIC_DISPATCH(int8_values)(page, P, out);
}
void widen_keys(const HalfPage& page, MatrixView<float> K) {
  HWY_DYNAMIC_DISPATCH(half_keys_of)(page, K);
}
void widen_keys(const Int8Page& page, MatrixView<float> K) {
  HWY_DYNAMIC_DISPATCH(int8_keys_of)(page, K);
}
void widen_values(const HalfPage& page, MatrixView<float> V) {
  HWY_DYNAMIC_DISPATCH(half_values_of)(page, V);
}
void widen_values(const Int8Page& page, MatrixView<float> V) {
  HWY_DYNAMIC_DISPATCH(int8_values_of)(page, V);
}

}  // namespace watersic::kernels
#endif
