// Sequences of a model advanced together, each with a position and a cache of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/threads.h"
#include "engine/cache.h"
#include "model/forward.h"
#include "watersic/matrix.h"

namespace watersic {

// The tokens so far, as the model remembers them.
class Sequence {
 public:
  // Of up to `capacity` tokens.
  Sequence(const ModelConfig& config, CacheType type, int64_t capacity)
      : capacity_(capacity), cache_(Cache::make(config, type, capacity)) {}

  int64_t position() const { return position_; }  // tokens so far
  int64_t capacity() const { return capacity_; }
  int64_t bytes() const { return cache_->bytes(); }
  int64_t cut() const { return cache_->cut(); }  // Cache's
  // Forgets all but the first `tokens`.
  void rewind(int64_t tokens);

 private:
  friend class Engine;
  int64_t capacity_, position_ = 0;
  std::unique_ptr<Cache> cache_;
};

// Tokens to append to a sequence, and of which of them logits are wanted.
struct Step {
  enum class Logits { kNone, kLast, kAll };

  Sequence* sequence = nullptr;
  std::span<const int32_t> ids;
  Logits logits = Logits::kLast;
};

class Engine {
 public:
  // Both must outlive the engine.
  Engine(ThreadPool& pool, const ForwardModel& model);

  // Runs all steps, which are of different sequences: at most kPassTokens tokens at a time, of as
  // many sequences as there are, so that single tokens go along with a prompt. The logits that are
  // wanted, in the order of the steps, each row those of the token that follows. Throws Error, and
  // leaves the sequences as they were, where an id is not below the vocabulary, a sequence is full,
  // or an activation is not finite. One call at a time.
  //
  // What a sequence gets does not depend on the threads. Beside other sequences it may differ in
  // the last bits where their tokens are more than the model's independent_tokens() (batch.h).
  Matrix<float> advance(std::span<const Step> steps);
  Matrix<float> advance(const Step& step) { return advance({&step, 1}); }

  // What a pass over `tokens` tokens takes at most, the last of them at `position`.
  static int64_t scratch_bytes(const ModelConfig& config, int threads, int64_t tokens,
                               int64_t position);

 private:
  struct Part;  // of a step, in a pass
  void check(std::span<const Step> steps) const;
  void reach(int64_t position);
  Matrix<float> pass(std::span<const Part> parts);
  Matrix<float> run(std::span<const Step> steps);

  ThreadPool& pool_;
  const ForwardModel& model_;
  RopeTable rope_;
};

}  // namespace watersic
