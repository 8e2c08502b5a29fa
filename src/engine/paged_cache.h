// In 16 or 8 bits, in pages that are allocated as the sequence grows.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "engine/cache.h"
#include "kernels/attention_rows.h"

namespace watersic {

// T: uint16_t for halves, int8_t with a scale for each head of a token.
template <class T>
class PagedCache final : public Cache {
 public:
  PagedCache(const ModelConfig& config, int64_t capacity);
  static int64_t page_bytes(const ModelConfig& config);

  int64_t bytes() const override;
  void reserve(int64_t tokens) override;
  void store(int64_t block, int64_t head, int64_t position, MatrixView<const float> K,
             MatrixView<const float> V) override;
  int64_t tiles(int64_t tokens) const override;
  int64_t cut() const override { return queries_of_tile(); }
  void attend(ThreadPool& pool, int64_t tile, int64_t block, int64_t position,
              MatrixView<const float> Q, MatrixView<float> H) const override;

 private:
  using HeadPage = kernels::HeadPage<T>;
  // Of each block and key head one after the other: keys, values, and the scales of both.
  HeadPage head_page(int64_t page, int64_t block, int64_t head) const;
  // For so few queries it does not pay to widen keys and values.
  static constexpr int64_t kFewRows = 16;
  int64_t queries_of_tile() const;

  int64_t blocks_, heads_, key_heads_, head_dim_, capacity_;
  std::vector<std::unique_ptr<std::byte[]>> pages_;
};

extern template class PagedCache<uint16_t>;
extern template class PagedCache<int8_t>;

}  // namespace watersic
