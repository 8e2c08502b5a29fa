#include "engine/paged_cache.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "base/half.h"
#include "kernels/activations.h"
#include "linalg/blas.h"

namespace watersic {
namespace {

using kernels::kPagePositions;
using kernels::padded;

template <class T>
constexpr bool kScaled = sizeof(T) == 1;

template <class T>
int64_t head_page_bytes(int64_t head_dim) {
  const int64_t values = kPagePositions * (head_dim + padded(head_dim));
  const int64_t scales = kScaled<T> ? 2 * kPagePositions : 0;
  return values * static_cast<int64_t>(sizeof(T)) + scales * static_cast<int64_t>(sizeof(float));
}

// x, the first at to[0], the others `stride` apart.
void narrow(std::span<const float> x, uint16_t* to, int64_t stride, float* /*scale*/) {
  constexpr float kLargest = 65504;  // of a half; beyond it there is only infinity
  for (const float value : x) {
    *to = half_from_float(std::clamp(value, -kLargest, kLargest));
    to += stride;
  }
}
void narrow(std::span<const float> x, int8_t* to, int64_t stride, float* scale) {
  constexpr float kSteps = 127;
  float largest = 0;
  for (const float value : x) largest = std::max(largest, std::abs(value));
  const float inverse = largest > 0 ? kSteps / largest : 0;
  *scale = largest / kSteps;
  for (const float value : x) {
    *to = static_cast<int8_t>(std::lrint(value * inverse));
    to += stride;
  }
}

}  // namespace

template <class T>
PagedCache<T>::PagedCache(const ModelConfig& config, int64_t capacity)
    : blocks_(config.blocks),
      heads_(config.heads),
      key_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      capacity_(capacity) {}

template <class T>
int64_t PagedCache<T>::page_bytes(const ModelConfig& config) {
  return config.blocks * config.kv_heads * head_page_bytes<T>(config.head_dim);
}

template <class T>
int64_t PagedCache<T>::bytes() const {
  return static_cast<int64_t>(pages_.size()) * blocks_ * key_heads_ * head_page_bytes<T>(head_dim_);
}

template <class T>
void PagedCache<T>::reserve(int64_t tokens) {
  assert(tokens <= capacity_);
  const auto bytes = static_cast<size_t>(blocks_ * key_heads_ * head_page_bytes<T>(head_dim_));
  while (static_cast<int64_t>(pages_.size()) * kPagePositions < tokens)
    pages_.push_back(std::make_unique<std::byte[]>(bytes));  // zero, as the kernels ask
}

template <class T>
typename PagedCache<T>::HeadPage PagedCache<T>::head_page(int64_t page, int64_t block,
                                                          int64_t head) const {
  std::byte* at = pages_[static_cast<size_t>(page)].get() +
                  (block * key_heads_ + head) * head_page_bytes<T>(head_dim_);
  HeadPage out{};
  if constexpr (kScaled<T>) {
    out.key_scales = reinterpret_cast<float*>(at);
    out.value_scales = out.key_scales + kPagePositions;
    at = reinterpret_cast<std::byte*>(out.value_scales + kPagePositions);
  }
  out.keys = reinterpret_cast<T*>(at);
  out.values = out.keys + kPagePositions * head_dim_;
  return out;
}

template <class T>
void PagedCache<T>::store(int64_t block, int64_t head, int64_t position, MatrixView<const float> K,
                          MatrixView<const float> V) {
  for (int64_t i = 0; i < K.rows(); ++i) {
    const int64_t t = (position + i) % kPagePositions;
    const HeadPage page = head_page((position + i) / kPagePositions, block, head);
    narrow(K.row(i), page.keys + t, kPagePositions, page.key_scales + t);
    narrow(V.row(i), page.values + t * padded(head_dim_), 1, page.value_scales + t);
  }
}

// The queries of all heads that share a key head stand one below the other: about as many rows as
// make a good product. A power of two, so that a text can be cut at many places.
template <class T>
int64_t PagedCache<T>::queries_of_tile() const {
  const auto most = static_cast<uint64_t>(128 / (heads_ / key_heads_));
  return static_cast<int64_t>(std::bit_floor(std::clamp<uint64_t>(most, 1, 64)));
}

template <class T>
int64_t PagedCache<T>::tiles(int64_t tokens) const {
  return key_heads_ * tile_count(tokens, queries_of_tile());
}

template <class T>
void PagedCache<T>::attend(ThreadPool& pool, int64_t tile, int64_t block, int64_t position,
                           MatrixView<const float> Q, MatrixView<float> H) const {
  const int64_t d = head_dim_, group = heads_ / key_heads_, head = tile % key_heads_;
  const int64_t first = tile / key_heads_ * queries_of_tile();
  const int64_t tokens = std::min(queries_of_tile(), Q.rows() - first), rows = tokens * group;
  const int64_t seen = position + first + tokens, pages = tile_count(seen, kPagePositions);
  const float scale = 1.0F / std::sqrt(static_cast<float>(d));
  // Row i * group + g: token i of the tile, head g of the group.
  Matrix<float> queries(rows, d), out(rows, padded(d)), P(rows, padded(seen));
  for (int64_t i = 0; i < tokens; ++i)
    std::copy_n(Q.data() + (first + i) * Q.stride() + head * group * d, group * d,
                queries.data() + i * group * d);

  const bool few = rows <= kFewRows;
  Matrix<float> wide;  // keys or values of a page
  if (!few) wide = Matrix<float>(std::max(d, kPagePositions), std::max(padded(d), kPagePositions));
  const auto columns = [&](int64_t page, int64_t end) {
    const int64_t begin = page * kPagePositions;
    return P.view().block(0, begin, rows, std::min(kPagePositions, end - begin));
  };
  for (int64_t p = 0; p < pages; ++p) {
    const HeadPage page = head_page(p, block, head);
    const MatrixView<float> part = columns(p, P.cols());
    if (few) {
      kernels::key_scores(page, queries, scale, part);
      continue;
    }
    const MatrixView<float> K = wide.view().block(0, 0, d, part.cols());
    kernels::widen_keys(page, K);
    gemm(pool, Op::kNone, Op::kNone, scale, queries, K, 0.0F, part);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const auto own = static_cast<size_t>(position + first + r / group + 1);
    kernels::softmax(P.row(r).first(own));
    std::ranges::fill(P.row(r).subspan(own), 0.0F);
  }
  for (int64_t p = 0; p < pages; ++p) {
    const HeadPage page = head_page(p, block, head);
    const MatrixView<float> part = columns(p, seen);
    if (few) {
      kernels::add_values(page, part, out);
      continue;
    }
    const MatrixView<float> V = wide.view().block(0, 0, part.cols(), padded(d));
    kernels::widen_values(page, V);
    gemm(pool, Op::kNone, Op::kNone, 1.0F, part, V, 1.0F, out);
  }
  for (int64_t r = 0; r < rows; ++r)
    std::copy_n(out.row(r).data(), d,
                H.data() + (first + r / group) * H.stride() + (head * group + r % group) * d);
}

template class PagedCache<uint16_t>;
template class PagedCache<int8_t>;

}  // namespace watersic
