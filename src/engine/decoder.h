// Decoding token by token, with the keys and values of what came before kept: a batch of sequences
// in lockstep. And text sampled from a model with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/threads.h"
#include "model/block.h"
#include "model/config.h"
#include "model/forward.h"
#include "model/weights.h"
#include "watersic/progress.h"

namespace watersic {

class Decoder {
 public:
  // `batch` sequences of up to `capacity` tokens. The first blocks' weights are held in float32 as
  // far as `weight_bytes` reaches; the others are loaded from the source again at each step. The
  // output head is always held. `source` must outlive the decoder.
  Decoder(ThreadPool& pool, const ModelConfig& config, const WeightSource& source, int64_t batch,
          int64_t capacity, int64_t weight_bytes, const ProgressFn& progress = {});

  // Appends one token to each sequence; the logits (batch x vocabulary) of the token after it. The
  // capacity must not be used up.
  Matrix<float> step(std::span<const int32_t> ids);
  // Of one sequence: appends all of `ids`, which must fit; the logits (1 x vocabulary) of the token
  // after them.
  Matrix<float> append(std::span<const int32_t> ids);
  int64_t position() const { return position_; }  // tokens so far
  // Begins anew, with empty sequences.
  void reset() { position_ = 0; }

 private:
  // The keys or values of a block: sequence b's head h at position t is the row
  // (b * kv_heads + h) * capacity + t.
  struct Cache {
    Matrix<float> keys, values;
  };
  Matrix<float> attend(const Block& weights, Cache& cache, MatrixView<const float> A);
  // The same for the tokens of one sequence, the rows of A.
  Matrix<float> attend_along(const Block& weights, Cache& cache, MatrixView<const float> A);
  // All blocks, with one of the two for attention.
  using AttendFn = Matrix<float> (Decoder::*)(const Block&, Cache&, MatrixView<const float>);
  Matrix<float> run_blocks(std::span<const int32_t> ids, AttendFn attend);

  ThreadPool& pool_;
  ModelConfig config_;
  const WeightSource& source_;
  int64_t batch_, capacity_;
  RopeTable rope_;
  OutputHead head_;
  std::vector<BlockWeights> held_;  // of the first blocks
  std::vector<Cache> caches_;
  int64_t position_ = 0;
};

struct SampleOptions {
  int64_t count = 1;        // of sequences
  int64_t length = 256;     // tokens of each, the first included
  int32_t first_token = 0;  // BOS, or the end-of-text token where there is no BOS
  double temperature = 1;   // above 0
  uint64_t seed = 0;
  int64_t weight_bytes = int64_t{4} << 30;  // as of Decoder
};

// Sequences sampled from the model's own distribution. Sequence i depends on the seed and on i, not
// on `count` nor on the number of threads. An end-of-text token is a token as any other: what
// follows it is sampled on, as in the packed windows that models are trained on, so that every
// sequence is full.
std::vector<std::vector<int32_t>> sample_sequences(ThreadPool& pool, const ModelConfig& config,
                                                   const WeightSource& source,
                                                   const SampleOptions& options,
                                                   const ProgressFn& progress = {});

// The token at quantile `uniform`, of [0, 1), of softmax(logits / temperature), summed in float64
// in the order of the tokens.
int32_t sample_token(std::span<const float> logits, double temperature, double uniform);

}  // namespace watersic
