// Attention of a few queries over a cache in 16 or 8 bits, for one key head and a page of
// positions. Sums go in a fixed order and without fused multiply-adds: every instruction set gives
// the same bits as the scalar code.
#pragma once

#include <cstdint>

#include "watersic/matrix.h"

namespace watersic::kernels {

constexpr int64_t kPagePositions = 128;
// Positions and features are computed so many at a time.
constexpr int64_t kLanes = 16;
constexpr int64_t padded(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// The keys and values of a page for one key head: IEEE halves (T = uint16_t), or int8_t with a
// scale for each position. Keys stand feature by feature, so that a query meets many positions at
// once: that of position t is keys[i * kPagePositions + t]. Values stand position by position,
// padded(head_dim) apart. All of a page may be read, so what is not used yet must be zero.
template <class T>
struct HeadPage {
  T* keys;
  T* values;
  float* key_scales;  // of int8_t only
  float* value_scales;
};
using HalfPage = HeadPage<uint16_t>;
using Int8Page = HeadPage<int8_t>;

// P(r, t) = scale * sum over i of Q(r, i) K(t, i) for the first P.cols() positions, a multiple of
// kLanes.
void key_scores(const HalfPage& page, MatrixView<const float> Q, float scale, MatrixView<float> P);
void key_scores(const Int8Page& page, MatrixView<const float> Q, float scale, MatrixView<float> P);

// out(r, i) += sum over t of P(r, t) V(t, i) for the first P.cols() positions; out.cols() is
// padded(head_dim).
void add_values(const HalfPage& page, MatrixView<const float> P, MatrixView<float> out);
void add_values(const Int8Page& page, MatrixView<const float> P, MatrixView<float> out);

// The first positions in float32, for products with many queries: keys as head_dim x positions, a
// multiple of kLanes, values as positions x padded(head_dim).
void widen_keys(const HalfPage& page, MatrixView<float> K);
void widen_keys(const Int8Page& page, MatrixView<float> K);
void widen_values(const HalfPage& page, MatrixView<float> V);
void widen_values(const Int8Page& page, MatrixView<float> V);

namespace scalar {

void key_scores(const HalfPage& page, MatrixView<const float> Q, float scale, MatrixView<float> P);
void key_scores(const Int8Page& page, MatrixView<const float> Q, float scale, MatrixView<float> P);
void add_values(const HalfPage& page, MatrixView<const float> P, MatrixView<float> out);
void add_values(const Int8Page& page, MatrixView<const float> P, MatrixView<float> out);
void widen_keys(const HalfPage& page, MatrixView<float> K);
void widen_keys(const Int8Page& page, MatrixView<float> K);
void widen_values(const HalfPage& page, MatrixView<float> V);
void widen_values(const Int8Page& page, MatrixView<float> V);

}  // namespace scalar
}  // namespace watersic::kernels
