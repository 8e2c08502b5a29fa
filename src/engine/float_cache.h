// In float32, with the arithmetic of the reference operators: what text for calibration is sampled
// with. Memory for the whole capacity is there from the first token on.
#pragma once

#include <vector>

#include "engine/cache.h"

namespace watersic {

class FloatCache final : public Cache {
 public:
  FloatCache(const ModelConfig& config, int64_t capacity);
  int64_t bytes() const override;
  void reserve(int64_t tokens) override;
  void store(int64_t block, int64_t head, int64_t position, MatrixView<const float> K,
             MatrixView<const float> V) override;
  int64_t tiles(int64_t tokens) const override;
  int64_t cut() const override { return kPassTokens; }  // a single token goes another way
  void attend(ThreadPool& pool, int64_t tile, int64_t block, int64_t position,
              MatrixView<const float> Q, MatrixView<float> H) const override;

 private:
  void attend_one(ThreadPool& pool, int64_t key_head, int64_t block, int64_t position,
                  MatrixView<const float> Q, MatrixView<float> H) const;
  int64_t row(int64_t head, int64_t position) const { return head * capacity_ + position; }

  int64_t blocks_, heads_, key_heads_, head_dim_, capacity_;
  struct Rows {
    Matrix<float> keys, values;  // (key head, position) x head_dim
  };
  std::vector<Rows> rows_;  // of each block; none before the first token
};

}  // namespace watersic
