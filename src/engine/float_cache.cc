#include "engine/float_cache.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "linalg/blas.h"
#include "model/attention.h"

namespace watersic {

FloatCache::FloatCache(const ModelConfig& config, int64_t capacity)
    : blocks_(config.blocks),
      heads_(config.heads),
      key_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      capacity_(capacity) {}

int64_t FloatCache::bytes() const {
  int64_t count = 0;
  for (const Rows& rows : rows_) count += rows.keys.size() + rows.values.size();
  return count * static_cast<int64_t>(sizeof(float));
}

void FloatCache::reserve([[maybe_unused]] int64_t tokens) {
  assert(tokens <= capacity_);
  if (!rows_.empty()) return;
  for (int64_t block = 0; block < blocks_; ++block)
    rows_.push_back({.keys = Matrix<float>(key_heads_ * capacity_, head_dim_),
                     .values = Matrix<float>(key_heads_ * capacity_, head_dim_)});
}

void FloatCache::store(int64_t block, int64_t head, int64_t position, MatrixView<const float> K,
                       MatrixView<const float> V) {
  Rows& rows = rows_[static_cast<size_t>(block)];
  for (int64_t i = 0; i < K.rows(); ++i) {
    std::ranges::copy(K.row(i), rows.keys.row(row(head, position + i)).begin());
    std::ranges::copy(V.row(i), rows.values.row(row(head, position + i)).begin());
  }
}

// A single token's queries of one key head make one small product; of several tokens, each head
// goes by tiles of queries.
int64_t FloatCache::tiles(int64_t tokens) const { return tokens == 1 ? key_heads_ : heads_; }

void FloatCache::attend(ThreadPool& pool, int64_t tile, int64_t block, int64_t position,
                        MatrixView<const float> Q, MatrixView<float> H) const {
  if (Q.rows() == 1) return attend_one(pool, tile, block, position, Q, H);
  const Rows& rows = rows_[static_cast<size_t>(block)];
  const int64_t d = head_dim_, first = row(tile / (heads_ / key_heads_), 0);
  for (int64_t begin = 0; begin < Q.rows(); begin += kQueryTile) {
    const int64_t count = std::min(kQueryTile, Q.rows() - begin);
    const int64_t before = position + begin, seen = before + count;
    Matrix<float> P(count, seen);
    attention_weights(pool, Q.block(begin, tile * d, count, d),
                      rows.keys.view().block(first, 0, seen, d), before, P);
    gemm(pool, Op::kNone, Op::kNone, 1.0F, P, rows.values.view().block(first, 0, seen, d), 0.0F,
         H.block(begin, tile * d, count, d));
  }
}

void FloatCache::attend_one(ThreadPool& pool, int64_t key_head, int64_t block, int64_t position,
                            MatrixView<const float> Q, MatrixView<float> H) const {
  const Rows& rows = rows_[static_cast<size_t>(block)];
  const int64_t d = head_dim_, group = heads_ / key_heads_;
  const int64_t first = row(key_head, 0), seen = position + 1;
  const MatrixView<const float> queries(Q.data() + key_head * group * d, group, d);
  const MatrixView<float> out(H.data() + key_head * group * d, group, d);
  Matrix<float> P(group, seen);
  gemm(pool, Op::kNone, Op::kTranspose, 1.0F / std::sqrt(static_cast<float>(d)), queries,
       rows.keys.view().block(first, 0, seen, d), 0.0F, P);
  for (int64_t i = 0; i < group; ++i) softmax(P.row(i));
  gemm(pool, Op::kNone, Op::kNone, 1.0F, P, rows.values.view().block(first, 0, seen, d), 0.0F, out);
}

}  // namespace watersic
