// The residual streams of the original model and of the one quantized so far, side by side over the
// calibration windows, block by block and stage by stage. In memory: the two streams, where they
// are not in a temporary file, one block of each model, and the activations of one batch. Ranks
// share the windows: each has the streams of its own batches, and what goes into sums is sent to
// those that make them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "base/context.h"
#include "base/threads.h"
#include "calibration/batch_errors.h"
#include "calibration/stage_moments.h"
#include "calibration/token_batches.h"
#include "io/scratch_file.h"
#include "model/block.h"
#include "model/config.h"
#include "model/rope.h"
#include "model/weights.h"
#include "pipeline/round_matrices.h"
#include "watersic/matrix.h"

namespace watersic {

// What to gather at a capture point.
struct StageWanted {
  // E[(x - x') x'^T]; at kO and kDown, where there is one layer, E[l x'^T] in its place,
  // l = W (x - x') what its outputs have lost, W the original's weights: of as many numbers as it
  // has weights.
  bool drift = false;
  bool residual = false;  // and l has what the stream has lost besides, r - r' (kO, kDown only)
  // Besides, weighted moments, by the product of the two where both are given:
  bool attention = false;         // by how much tokens are attended to (Capture::kQkv only)
  std::span<const float> tokens;  // by weights; tokens behind the last of these count once
  Unweighted unweighted = Unweighted::kS;
};

class Streams {
 public:
  // What enters the first block, of some of the windows.
  using EmbedFn = std::function<Matrix<float>(int64_t first, int64_t windows)>;

  // Of so many windows, each of `length` tokens. `two`: whether the quantized model's stream
  // is followed as well; without it there are x and its moments alone. Work may be
  // stopped every few batches.
  // `scratch`: beside which a temporary file is made, for what two streams would compute twice;
  // empty: it is computed twice. `spill`: the streams are in such a file as well.
  Streams(const Context& context, const ModelConfig& config, int64_t windows, int64_t length,
          const EmbedFn& embed, bool two, const std::filesystem::path& scratch = {},
          bool spill = false);

  // Before the first block: where the quantized model's stream begins, if not where the original's
  // does.
  void set_quantized_input(const EmbedFn& embed);

  bool two() const { return two_; }
  // Whether W x' of what a layer's outputs have lost is one product with S' in place of one for
  // each token: in float64, with the two halves of the tokens.
  static bool product_is_late(int64_t tokens, int64_t inputs) { return tokens >= 8 * inputs; }

  void begin_block(BlockWeights original);
  const BlockWeights& original() const { return original_; }
  // The weights that the quantized stream uses; the original's until they are replaced.
  BlockWeights& quantized() { return two_ ? quantized_ : original_; }

  // The stages in order, each once, with one of these two; the layers that the stages before it
  // read must be in place.
  StageStatistics statistics(Capture stage, const StageWanted& wanted);
  void pass(Capture stage);
  // After the last stage's layers are in place.
  void end_block();

  // After the last block: of what the output head's matrix sees, the streams through the final
  // norm.
  StageStatistics head_statistics(std::span<const float> norm, bool drift);

  // sum |u' - u|^2 / sum |u|^2 over the first `tokens` tokens, u the input of the next stage: of o
  // after kQkv, of down after kGateUp. u' is computed from x' by the weights in quantized() as they
  // stand. Between statistics(stage) and the next stage only; needs two streams.
  double next_input_error(Capture stage, int64_t tokens);

 private:
  // What a batch has to say to a stage's moments.
  struct Seen {
    Matrix<float> input, quantized, lost;
    std::vector<float> weights;
  };
  using RoundFn = std::function<void(size_t round)>;
  // `own`: for each round in which this rank has a batch, which is X_[round]. `moments`: what it
  // has then `seen` goes there, of so many inputs.
  void for_each_round(const RoundFn& own);
  void for_each_round(const RoundFn& own, int64_t inputs, Seen& seen, StageMoments& moments);
  std::function<void(size_t, const TokenBatch&)> named(const RoundFn& own) const;
  // Of the round's batches in order: from the rank that has it to those that hear of it, and there
  // to the moments.
  void add(size_t round, int64_t inputs, Seen& own, StageMoments& moments);
  int64_t inputs_of(Capture stage) const;
  // The input of a stage's layers, from the stream as it stands at that stage.
  Matrix<float> input_of(Capture stage, const BlockWeights& weights, MatrixView<const float> X);
  Matrix<float> original_input(Capture stage, size_t round, std::vector<float>* received);
  // `moments`, `errors`: both or neither.
  void visit(Capture stage, const StageWanted& wanted, StageMoments* moments, BatchErrors* errors);
  BatchErrors batch_errors() const {
    return BatchErrors(batches_.rounds() * context_.ranks().size());
  }
  // This rank's of the round.
  int64_t batch_of(size_t round) const {
    return static_cast<int64_t>(round) * context_.ranks().size() + context_.ranks().rank();
  }
  Seen look(Capture stage, size_t round, const StageWanted& wanted, Matrix<float> input,
            std::vector<float> received);
  bool product_is_late(Linear added) const {
    return product_is_late(batches_.tokens(), original_.linear[added].inputs());
  }
  // The original's stream gets o's or down's output; l of the batch, where that is wanted.
  Matrix<float> add_output(Linear added, size_t round, const StageWanted& wanted, const Seen& seen);
  void bring_up_to(Capture stage, size_t round);
  // The input of o or down in the quantized model: as it was when their statistics were taken,
  // where it is kept.
  Matrix<float> quantized_input(Capture stage, size_t round);
  void forget();
  void release(Capture stage);

  Context context_;
  ThreadPool& pool_;
  const ModelConfig& config_;
  RopeTable rope_;
  int64_t length_;
  bool two_;
  TokenBatches batches_;
  RoundMatrices X_, Xq_;
  BlockWeights original_, quantized_;
  // By round: where the quantized input of the stage whose statistics were taken last is kept, and
  // the original's of o.
  ScratchFile scratch_;
  bool keeps_ = false;
  std::vector<int64_t> kept_, kept_originals_;
  std::vector<Matrix<float>> next_inputs_;  // u of next_input_error, by round, until the next stage
};

// By the model's embedding. All must outlive what is returned.
Streams::EmbedFn embed_by(const ModelConfig& config, const WeightSource& source,
                          std::span<const std::vector<int32_t>> windows);

}  // namespace watersic
