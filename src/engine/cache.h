// Keys and values of one sequence's tokens, in each block and for each key head.
#pragma once

#include <cstdint>
#include <memory>

#include "base/threads.h"
#include "model/config.h"
#include "watersic/matrix.h"
#include "watersic/running.h"

namespace watersic {

// Of a text at most so many tokens are appended at once.
constexpr int64_t kPassTokens = 256;

class Cache {
 public:
  virtual ~Cache() = default;
  static std::unique_ptr<Cache> make(const ModelConfig& config, CacheType type, int64_t capacity);
  // What `tokens` tokens take.
  static int64_t bytes_for(const ModelConfig& config, CacheType type, int64_t tokens);

  virtual int64_t bytes() const = 0;  // allocated
  // Makes room for so many tokens, at most the capacity.
  virtual void reserve(int64_t tokens) = 0;

  // The keys and values (tokens x head_dim) of a key head for tokens from `position` on.
  virtual void store(int64_t block, int64_t head, int64_t position, MatrixView<const float> K,
                     MatrixView<const float> V) = 0;

  // Attention of the tokens from `position` on, which are stored: H = softmax(Q K^T / sqrt(d)) V,
  // Q and H tokens x (heads * head_dim), each token seeing those before it and itself. The work
  // comes in so many tiles, which may run at once.
  virtual int64_t tiles(int64_t tokens) const = 0;
  // A text that is cut at multiples of so many tokens gets the same bits as a whole.
  virtual int64_t cut() const = 0;
  virtual void attend(ThreadPool& pool, int64_t tile, int64_t block, int64_t position,
                      MatrixView<const float> Q, MatrixView<float> H) const = 0;
};

}  // namespace watersic
