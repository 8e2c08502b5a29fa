#include "pipeline/streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <initializer_list>
#include <iterator>
#include <vector>

#include "engine/vector_operators.h"
#include "model/forward.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// The layer that reads what is captured there and adds to the stream: kO or kDown.
Linear output_of(Capture stage) { return stage == Capture::kO ? kOutput : kDown; }

void add_bias(const DenseLayer& layer, MatrixView<float> X) {
  if (layer.bias.empty()) return;
  for (int64_t i = 0; i < X.rows(); ++i)
    for (int64_t j = 0; j < X.cols(); ++j) X(i, j) += layer.bias[static_cast<size_t>(j)];
}

}  // namespace

Streams::Streams(const Context& context, const ModelConfig& config, int64_t windows, int64_t length,
                 const EmbedFn& embed, bool two, const std::filesystem::path& scratch, bool spill)
    : context_(context),
      pool_(context.pool()),
      config_(config),
      rope_(config, length),
      length_(length),
      two_(two),
      batches_(windows, length, context.ranks()),
      X_(spill ? scratch : std::filesystem::path()),
      Xq_(spill ? scratch : std::filesystem::path()),
      scratch_(scratch),
      keeps_(two && !scratch.empty()) {
  for (int64_t round = 0; round < batches_.rounds(); ++round) {
    const TokenBatch* batch = batches_.own(round);
    if (batch == nullptr) continue;
    Matrix<float> X = embed(batch->first, batch->windows);
    if (two_) Xq_.push_back(X);
    X_.push_back(std::move(X));
  }
}

void Streams::set_quantized_input(const EmbedFn& embed) {
  for (int64_t round = 0; round < batches_.rounds(); ++round)
    if (const TokenBatch* batch = batches_.own(round))
      Xq_[static_cast<size_t>(round)] = embed(batch->first, batch->windows);
}

// What goes wrong is told with the windows in which it did.
std::function<void(size_t, const TokenBatch&)> Streams::named(const RoundFn& own) const {
  return [&own](size_t round, const TokenBatch& batch) {
    try {
      own(round);
    } catch (const Error& e) {
      throw Error(fmt::format("calibration windows {} to {}: {}", batch.first,
                              batch.first + batch.windows - 1, e.what()));
    }
  };
}

void Streams::for_each_round(const RoundFn& own) {
  watersic::for_each_round(context_, batches_, {.own = named(own)});
}

void Streams::for_each_round(const RoundFn& own, int64_t inputs, Seen& seen,
                             StageMoments& moments) {
  const auto talk = [&](size_t round) {
    return std::ranges::any_of(
        batches_.round(static_cast<int64_t>(round)), [&](const TokenBatch& batch) {
          return moments.all_hear(batch.row, inputs) || moments.halves().is_told(batch.half);
        });
  };
  watersic::for_each_round(context_, batches_,
                           {.own = named(own),
                            .after = [&](size_t round) { add(round, inputs, seen, moments); },
                            .talk = talk});
}

void Streams::forget() {
  kept_.clear();
  kept_originals_.clear();
  scratch_.clear();
}

// The weights of the block that nothing reads any more.
void Streams::release(Capture stage) {
  const auto drop = [](BlockWeights& weights, std::initializer_list<Linear> layers) {
    for (const Linear layer : layers) weights.linear[layer] = {};
  };
  if (stage == Capture::kO) drop(original_, {kQuery, kKey, kValue});
  if (stage == Capture::kGateUp) {
    drop(original_, {kOutput});
    drop(quantized_, {kQuery, kKey, kValue, kOutput});
  }
  if (stage == Capture::kDown) {
    drop(original_, {kGate, kUp});
    if (kept_.size() == X_.size()) drop(quantized_, {kGate, kUp});
  }
}

void Streams::begin_block(BlockWeights original) {
  original_ = std::move(original);
  original_.operators = &vector_operators();
  if (two_) quantized_ = original_;
}

Matrix<float> Streams::input_of(Capture stage, const BlockWeights& weights,
                                MatrixView<const float> X) {
  if (stage == Capture::kQkv || stage == Capture::kO) {
    Matrix<float> A = attention_input(pool_, config_, weights, X);
    if (stage == Capture::kQkv) return A;
    return attention(pool_, config_, rope_, weights, length_, A);
  }
  Matrix<float> M = mlp_input(pool_, config_, weights, X);
  if (stage == Capture::kGateUp) return M;
  return mlp_hidden(pool_, weights, length_, M);
}

// The quantized stream lags behind: it gets a layer's output when that layer is in place, that is
// when the next stage begins.
void Streams::bring_up_to(Capture stage, size_t round) {
  if (!two_ || stage != Capture::kGateUp) return;
  add_linear(pool_, quantized_, kOutput, length_, quantized_input(Capture::kO, round), Xq_[round]);
}

int64_t Streams::inputs_of(Capture stage) const {
  return stage == Capture::kO      ? config_.query_size()
         : stage == Capture::kDown ? config_.intermediate
                                   : config_.hidden;
}

Matrix<float> Streams::quantized_input(Capture stage, size_t round) {
  if (round >= kept_.size()) return input_of(stage, quantized_, Xq_[round]);
  Matrix<float> out(Xq_[round].rows(), inputs_of(stage));
  scratch_.get(kept_[round], out.values());
  return out;
}

// Who attends to whom is found by the mixing that makes o's input, which is kept for o.
Matrix<float> Streams::original_input(Capture stage, size_t round, std::vector<float>* received) {
  const Matrix<float>& X = X_[round];
  if (stage == Capture::kO && round < kept_originals_.size()) {
    Matrix<float> out(X.rows(), config_.query_size());
    scratch_.get(kept_originals_[round], out.values());
    return out;
  }
  Matrix<float> input = input_of(stage, original_, X);
  if (received == nullptr) return input;
  const Matrix<float> mixed = attention(pool_, config_, rope_, original_, length_, input, received);
  if (keeps_) kept_originals_.push_back(scratch_.put(mixed.values()));
  return input;
}

Streams::Seen Streams::look(Capture stage, size_t round, const StageWanted& wanted,
                            Matrix<float> input, std::vector<float> received) {
  const Matrix<float>& X = X_[round];
  if (!wanted.tokens.empty()) {
    received.resize(static_cast<size_t>(X.rows()), 1.0F);
    const int64_t row = batches_.own(static_cast<int64_t>(round))->row;
    for (int64_t i = 0; i < X.rows(); ++i)
      if (const auto token = static_cast<size_t>(row + i); token < wanted.tokens.size())
        received[static_cast<size_t>(i)] *= wanted.tokens[token];
  }
  Seen seen{.input = std::move(input), .quantized = {}, .lost = {}, .weights = received};
  if (!two_) return seen;
  seen.quantized = input_of(stage, quantized_, Xq_[round]);
  if (keeps_ && (stage == Capture::kO || stage == Capture::kDown))
    kept_.push_back(scratch_.put(seen.quantized.values()));
  return seen;
}

// With r + W x the stream as it becomes, l = r + W x - (r' + W x'), or without the residual
// r + W x - (r + W x'). Or l + W x'.
Matrix<float> Streams::add_output(Linear added, size_t round, const StageWanted& wanted,
                                  const Seen& seen) {
  Matrix<float>& X = X_[round];
  Matrix<float> lost;
  if (two_ && wanted.drift) {
    lost = wanted.residual ? Xq_[round] : X;
    if (product_is_late(added)) {
      add_bias(original_.linear[added], lost);
    } else {
      add_linear(pool_, original_, added, length_, seen.quantized, lost);
    }
  }
  add_linear(pool_, original_, added, length_, seen.input, X);
  pool_.parallel_for(lost.rows(), [&](int64_t i) {
    for (int64_t j = 0; j < lost.cols(); ++j) lost(i, j) = X(i, j) - lost(i, j);
  });
  return lost;
}

void Streams::add(size_t round, int64_t inputs, Seen& own, StageMoments& moments) {
  const Halves& halves = moments.halves();
  const Communicator& ranks = context_.ranks();
  const auto batches = batches_.round(static_cast<int64_t>(round));
  const auto batch_of = [&](const TokenBatch& batch, const Seen& seen) {
    return StageBatch{.X = seen.input,
                      .X_quantized = seen.quantized,
                      .p = seen.weights,
                      .lost = seen.lost,
                      .row = batch.row,
                      .half = batch.half};
  };
  // First what takes all ranks alike, so that none waits for another's half.
  int rank = 0;
  for (const TokenBatch& batch : batches) {
    if (moments.all_hear(batch.row, inputs)) {
      Seen of_another;
      Seen& seen = rank == ranks.rank() ? own : of_another;
      share(ranks, rank, seen.input);
      share(ranks, rank, seen.weights);
      moments.add_to_all(pool_, batch_of(batch, seen));
    }
    ++rank;
  }
  rank = 0;
  for (const TokenBatch& batch : batches) {
    if (halves.hears(batch.half)) {
      Seen of_another;
      Seen& seen = rank == ranks.rank() ? own : of_another;
      const Communicator& hearers = halves.hearers(batch.half);
      const int number = halves.number_of(rank, batch.half);
      if (moments.half_hears_X()) share(hearers, number, seen.input);
      share(hearers, number, seen.weights);
      for (Matrix<float>* matrix : {&seen.quantized, &seen.lost}) share(hearers, number, *matrix);
      moments.add_to_halves(pool_, batch_of(batch, seen));
    }
    ++rank;
  }
}

void Streams::visit(Capture stage, const StageWanted& wanted, StageMoments* moments,
                    BatchErrors* errors) {
  // q, k, v read the stream and add nothing to it, and so do gate and up.
  const bool adds = stage == Capture::kO || stage == Capture::kDown;
  next_inputs_.clear();
  if (stage == Capture::kQkv || stage == Capture::kDown) forget();
  if (moments == nullptr && !adds && (!two_ || stage == Capture::kQkv)) return;
  Seen seen;
  const auto own = [&](size_t round) {
    bring_up_to(stage, round);
    if (moments == nullptr && !adds) return;
    std::vector<float> received;
    Matrix<float>& X = X_[round];
    Matrix<float> input = original_input(stage, round, wanted.attention ? &received : nullptr);
    const Linear added = output_of(stage);
    if (moments == nullptr) {
      add_linear(pool_, original_, added, length_, input, X);
      return;
    }
    seen = look(stage, round, wanted, std::move(input), std::move(received));
    if (two_) errors->add(pool_, batch_of(round), seen.input, seen.quantized);
    if (adds) seen.lost = add_output(added, round, wanted, seen);
  };
  if (moments == nullptr) {
    for_each_round(own);
  } else {
    for_each_round(own, inputs_of(stage), seen, *moments);
  }
}

StageStatistics Streams::statistics(Capture stage, const StageWanted& wanted) {
  assert(!wanted.attention || stage == Capture::kQkv);
  const bool of_outputs = stage == Capture::kO || stage == Capture::kDown;
  StageMoments moments({.two = two_,
                        .weighted = wanted.attention || !wanted.tokens.empty(),
                        .drift = wanted.drift && !of_outputs,
                        .unweighted = wanted.unweighted},
                       context_.ranks());
  BatchErrors errors = batch_errors();
  visit(stage, wanted, &moments, &errors);
  release(stage);
  MatrixView<const float> W;
  if (of_outputs && two_ && wanted.drift && product_is_late(output_of(stage)))
    W = original_.linear[output_of(stage)].weight;
  StageStatistics out = moments.take(pool_, W);
  out.capture_error = errors.ratio(context_.ranks());
  return out;
}

void Streams::pass(Capture stage) {
  visit(stage, {}, nullptr, nullptr);
  release(stage);
}

void Streams::end_block() {
  if (!two_) return;
  for_each_round([&](size_t round) {
    add_linear(pool_, quantized_, kDown, length_, quantized_input(Capture::kDown, round),
               Xq_[round]);
    check_finite(pool_, quantized_.block, "output", Xq_[round]);
  });
}

StageStatistics Streams::head_statistics(std::span<const float> norm, bool drift) {
  StageMoments moments({.two = two_, .drift = drift}, context_.ranks());
  const auto normed = [&](const Matrix<float>& X) {
    Matrix<float> Y(X.rows(), X.cols());
    rms_norm(pool_, X, norm, config_.norm_epsilon, Y);
    return Y;
  };
  Seen seen;
  for_each_round(
      [&](size_t round) {
        seen = {.input = normed(X_[round]), .quantized = {}, .lost = {}, .weights = {}};
        if (two_) seen.quantized = normed(Xq_[round]);
      },
      config_.hidden, seen, moments);
  return moments.take(pool_);
}

double Streams::next_input_error(Capture stage, int64_t tokens) {
  assert(two_ && (stage == Capture::kQkv || stage == Capture::kGateUp));
  const Capture next = stage == Capture::kQkv ? Capture::kO : Capture::kDown;
  BatchErrors errors = batch_errors();
  for_each_round([&](size_t round) {
    if (batches_.own(static_cast<int64_t>(round))->row >= tokens) return;
    if (round == next_inputs_.size()) next_inputs_.push_back(original_input(next, round, nullptr));
    errors.add(pool_, batch_of(round), next_inputs_[round], input_of(next, quantized_, Xq_[round]));
  });
  return errors.ratio(context_.ranks());
}

Streams::EmbedFn embed_by(const ModelConfig& config, const WeightSource& source,
                          std::span<const std::vector<int32_t>> windows) {
  return [&config, &source, windows](int64_t first, int64_t count) {
    return embed_windows(config, source,
                         windows.subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
  };
}

}  // namespace watersic
