// The reference of attention_rows.cc.
#include "base/half.h"
#include "kernels/attention_rows.h"

namespace watersic::kernels::scalar {
namespace {

float widened(uint16_t half) { return float_from_half(half); }
float widened(int8_t value) { return static_cast<float>(value); }
float times_scale(float value, const HalfPage& /*page*/, const float* /*scales*/, int64_t /*t*/) {
  return value;
}
float times_scale(float value, const Int8Page& /*page*/, const float* scales, int64_t t) {
  return value * scales[t];
}

template <class Page>
void scores(const Page& page, MatrixView<const float> Q, float scale, MatrixView<float> P) {
  for (int64_t r = 0; r < P.rows(); ++r) {
    for (int64_t t = 0; t < P.cols(); ++t) {
      float sum = 0;
      for (int64_t i = 0; i < Q.cols(); ++i)
        sum += Q(r, i) * widened(page.keys[i * kPagePositions + t]);
      P(r, t) = times_scale(sum * scale, page, page.key_scales, t);
    }
  }
}

template <class Page>
void values(const Page& page, MatrixView<const float> P, MatrixView<float> out) {
  for (int64_t r = 0; r < P.rows(); ++r) {
    for (int64_t i = 0; i < out.cols(); ++i) {
      float sum = 0;
      for (int64_t t = 0; t < P.cols(); ++t)
        sum += times_scale(P(r, t), page, page.value_scales, t) *
               widened(page.values[t * out.cols() + i]);
      out(r, i) += sum;
    }
  }
}

template <class Page>
void keys_of(const Page& page, MatrixView<float> K) {
  for (int64_t i = 0; i < K.rows(); ++i)
    for (int64_t t = 0; t < K.cols(); ++t)
      K(i, t) = times_scale(widened(page.keys[i * kPagePositions + t]), page, page.key_scales, t);
}

template <class Page>
void values_of(const Page& page, MatrixView<float> V) {
  for (int64_t t = 0; t < V.rows(); ++t)
    for (int64_t i = 0; i < V.cols(); ++i)
      V(t, i) = times_scale(widened(page.values[t * V.cols() + i]), page, page.value_scales, t);
}

}  // namespace

void key_scores(const HalfPage& page, MatrixView<const float> Q, float scale, MatrixView<float> P) {
  scores(page, Q, scale, P);
}
void key_scores(const Int8Page& page, MatrixView<const float> Q, float scale, MatrixView<float> P) {
  scores(page, Q, scale, P);
}
void add_values(const HalfPage& page, MatrixView<const float> P, MatrixView<float> out) {
  values(page, P, out);
}
void add_values(const Int8Page& page, MatrixView<const float> P, MatrixView<float> out) {
  values(page, P, out);
}
void widen_keys(const HalfPage& page, MatrixView<float> K) { keys_of(page, K); }
void widen_keys(const Int8Page& page, MatrixView<float> K) { keys_of(page, K); }
void widen_values(const HalfPage& page, MatrixView<float> V) { values_of(page, V); }
void widen_values(const Int8Page& page, MatrixView<float> V) { values_of(page, V); }

}  // namespace watersic::kernels::scalar
