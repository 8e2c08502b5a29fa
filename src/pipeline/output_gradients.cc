#include "pipeline/output_gradients.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <optional>
#include <utility>

#include "base/rng.h"
#include "calibration/halves.h"
#include "calibration/stage_moments.h"
#include "calibration/token_batches.h"
#include "engine/vector_operators.h"
#include "model/block_backward.h"
#include "model/forward.h"
#include "model/model_backward.h"
#include "model/rope.h"
#include "pipeline/gradient_sums.h"

namespace watersic {
namespace {

Matrix<float> copy_of(MatrixView<const float> X) {
  Matrix<float> out(X.rows(), X.cols());
  for (int64_t i = 0; i < X.rows(); ++i) std::ranges::copy(X.row(i), out.row(i).begin());
  return out;
}

// The token at which the running sum of p passes `uniform`, 0 .. 1.
int32_t drawn(std::span<const float> p, double uniform) {
  for (size_t i = 0; i < p.size(); ++i) {
    uniform -= static_cast<double>(p[i]);
    if (uniform < 0) return static_cast<int32_t>(i);
  }
  // The sum is 1 but for rounding.
  return static_cast<int32_t>(std::ranges::max_element(p) - p.begin());
}

// sum += p (1 - p) over rows.
void add_logit_metric(ThreadPool& pool, MatrixView<const float> p, std::span<double> sum) {
  constexpr int64_t kTile = 1024;
  const int64_t vocabulary = p.cols();
  pool.parallel_for(tile_count(vocabulary, kTile), [&](int64_t tile) {
    const int64_t lo = tile * kTile, hi = std::min(vocabulary, lo + kTile);
    for (int64_t i = 0; i < p.rows(); ++i)
      for (int64_t v = lo; v < hi; ++v)
        sum[static_cast<size_t>(v)] += static_cast<double>(p(i, v)) * (1 - p(i, v));
  });
}

int64_t token_count(const ModelConfig& config, std::span<const std::vector<int32_t>> windows) {
  const auto length = static_cast<int64_t>(windows.front().size());
  const int64_t each = static_cast<int64_t>(sizeof(float)) * config.blocks * config.hidden;
  const int64_t most = std::min(OutputGradients::kTokens, OutputGradients::kBytes / each);
  return std::clamp<int64_t>(most / length, 1, static_cast<int64_t>(windows.size())) * length;
}

}  // namespace

// The two passes, which leave what they find in `out`. Ranks share the batches.
class OutputGradients::Pass {
 public:
  Pass(const Context& context, const ModelConfig& config, const WeightSource& source,
       std::span<const std::vector<int32_t>> windows, const std::filesystem::path& scratch,
       OutputGradients& out)
      : context_(context),
        pool_(context.pool()),
        halves_(context.ranks()),
        config_(config),
        source_(source),
        length_(static_cast<int64_t>(windows.front().size())),
        rope_(config, length_),
        batches_(static_cast<int64_t>(windows.size()), length_, context.ranks()),
        inputs_(scratch),
        out_(out) {
    for (int64_t round = 0; round < batches_.rounds(); ++round)
      if (const TokenBatch* batch = batches_.own(round))
        X_.push_back(embed_windows(config_, source_,
                                   windows.subspan(static_cast<size_t>(batch->first),
                                                   static_cast<size_t>(batch->windows))));
  }

  void forward() {
    for (int64_t block = 0; block < config_.blocks; ++block) {
      places_.emplace_back();
      const BlockWeights weights = block_weights(block);
      for_each_round([&](size_t round) {
        places_.back().push_back(inputs_.put(X_[round].values()));
        forward_block(pool_, config_, rope_, weights, length_, X_[round]);
      });
    }
  }

  // From the last block's output to the gradient there, of (log p(y) - log p(y')) / sqrt(2): its
  // second moments are those of log p(y), since both have them and don't know of each other, and
  // what is common to all tokens, the mean of the head's rows, cancels without being known.
  void through_head(uint64_t seed) {
    const OutputHead head(config_, source_);
    const uint64_t stream = Rng(seed).bits();
    StageMoments inputs_seen({}, halves_.ranks());
    // sum p (1 - p) over each half; a batch that is of both counts with the first.
    std::array<std::vector<double>, 2> logit_sums;
    logit_sums.fill(std::vector<double>(static_cast<size_t>(config_.vocabulary)));
    Matrix<float> seen;             // of the batch at hand: the head's inputs,
    std::vector<double> logit_sum;  // and its part of that sum
    for_each_round(
        [&](size_t round) {
          Matrix<float>& batch = X_[round];
          seen = Matrix<float>(batch.rows(), batch.cols());
          logit_sum.assign(static_cast<size_t>(config_.vocabulary), 0);
          std::optional<Rng> rng;  // one for each window
          const TokenBatch& own = *batches_.own(static_cast<int64_t>(round));
          for (int64_t first = 0; first < batch.rows(); first += kLossRows) {
            const int64_t rows = std::min(kLossRows, batch.rows() - first);
            const MatrixView<float> some = batch.view().block(first, 0, rows, batch.cols());
            Matrix<float> p = head.logits(pool_, some);
            std::array<std::vector<double>, 2> uniform;
            for (int64_t i = 0; i < rows; ++i) {
              if ((first + i) % length_ == 0)
                rng.emplace(stream + static_cast<uint64_t>(own.first + (first + i) / length_));
              for (auto& some_of : uniform) some_of.push_back(rng->uniform());
            }
            std::array<std::vector<int32_t>, 2> tokens;
            for (auto& of : tokens) of.resize(static_cast<size_t>(rows));
            by_rows(pool_, rows, [&](int64_t i) {
              vector_operators().softmax(p.row(i));
              const auto at = static_cast<size_t>(i);
              for (size_t k = 0; k < 2; ++k) tokens[k][at] = drawn(p.row(i), uniform[k][at]);
            });
            add_logit_metric(pool_, p, logit_sum);
            const Matrix<float> inputs = head.inputs(pool_, some),
                                gradient = head.backward(pool_, some, tokens[0], tokens[1],
                                                         std::numbers::sqrt2_v<float> / 2);
            for (int64_t i = 0; i < rows; ++i) {
              std::ranges::copy(inputs.row(i), seen.row(first + i).begin());
              std::ranges::copy(gradient.row(i), some.row(i).begin());
            }
          }
        },
        [&](int rank, const TokenBatch& batch) {
          Matrix<float> inputs_there;
          std::vector<double> sum_there;
          add_moments(batch, told(rank, batch.half, seen, inputs_there), inputs_seen);
          const std::span<const double> sum = told(rank, batch.half, logit_sum, sum_there);
          const int half = batch.half == Half::kSecond ? 1 : 0;
          for (size_t v = 0; v < sum.size(); ++v)
            logit_sums[static_cast<size_t>(half)][v] += sum[v];
        });
    Matrix<double> metric(1, config_.vocabulary);
    for (int half = 0; half < 2; ++half) {
      std::vector<double>& sum = logit_sums[static_cast<size_t>(half)];
      halves_.gather(half, sum);
      for (size_t v = 0; v < sum.size(); ++v)
        metric.row(0)[v] += sum[v] / static_cast<double>(out_.tokens_);
    }
    out_.head_ = {.S = inputs_seen.take(pool_).plain.S, .metric = std::move(metric)};
  }

  void backward(bool layers) {
    if (layers) out_.blocks_.resize(places_.size());
    for (int64_t block = config_.blocks - 1; block >= 0; --block) {
      const BlockWeights weights = block_weights(block);
      std::vector<GradientSums> sums;  // by Linear
      for (const LinearSite& site : linear_sites(config_, block))
        sums.emplace_back(out_.tokens_, site.rows);
      // Of the batch at hand, where others want them.
      std::array<Matrix<float>, kLinears> gradients;
      for_each_round(
          [&](size_t round) {
            const TokenBatch& batch = *batches_.own(static_cast<int64_t>(round));
            LinearGradientFn seen;
            if (layers) {
              seen = [&](Linear linear, const LinearGradient& layer) {
                sums[linear].look(pool_, batch.row, layer.dY);
                if (!halves_.is_told(batch.half)) {
                  sums[linear].add(pool_, halves_, batch.half, layer.dY);
                } else {
                  gradients[linear] = copy_of(layer.dY);
                }
              };
            }
            Matrix<float> input(X_[round].rows(), X_[round].cols());
            inputs_.get(places_[static_cast<size_t>(block)][round], input.values());
            backward_block(pool_, config_, rope_, weights, length_, input, X_[round], seen);
          },
          [&](int rank, const TokenBatch& batch) {
            if (!layers || !halves_.is_told(batch.half)) return;
            for (size_t linear = 0; linear < sums.size(); ++linear) {
              Matrix<float> there;
              sums[linear].add(pool_, halves_, batch.half,
                               told(rank, batch.half, gradients[linear], there));
            }
          });
      if (layers) keep(sums, out_.blocks_[static_cast<size_t>(block)]);
    }
    StageMoments moments({}, halves_.ranks());
    Matrix<float> gradient;
    for_each_round([&](size_t round) { gradient = std::move(X_[round]); },
                   [&](int rank, const TokenBatch& batch) {
                     Matrix<float> there;
                     add_moments(batch, told(rank, batch.half, gradient, there), moments);
                   });
    out_.stream_ = moments.take(pool_).plain.S;
  }

 private:
  BlockWeights block_weights(int64_t block) const {
    BlockWeights weights = load_block(pool_, config_, source_, block);
    weights.operators = &vector_operators();
    return weights;
  }
  // `own`: for each round in which this rank has a batch. `of_batch`: after each round, for each of
  // its batches of which this rank hears, and the rank that has it.
  void for_each_round(const std::function<void(size_t round)>& own,
                      const std::function<void(int rank, const TokenBatch& batch)>& of_batch = {}) {
    RoundWork work{.own = [&](size_t round, const TokenBatch&) { own(round); }};
    if (of_batch) {
      work.after = [&](size_t round) {
        int rank = 0;
        for (const TokenBatch& batch : batches_.round(static_cast<int64_t>(round))) {
          if (halves_.hears(batch.half)) of_batch(rank, batch);
          ++rank;
        }
      };
      work.talk = [&](size_t round) {
        return std::ranges::any_of(
            batches_.round(static_cast<int64_t>(round)),
            [&](const TokenBatch& batch) { return halves_.is_told(batch.half); });
      };
    }
    watersic::for_each_round(context_, batches_, work);
  }
  // What `rank` has of a batch of its own, `mine` where this is the one; of another's there is room
  // in `there`.
  template <class T>
  const T& told(int rank, Half half, T& mine, T& there) const {
    T& out = rank == halves_.ranks().rank() ? mine : there;
    share(halves_.hearers(half), halves_.number_of(rank, half), out);
    return out;
  }
  void add_moments(const TokenBatch& batch, MatrixView<const float> X, StageMoments& moments) {
    moments.add(pool_, {.X = X, .row = batch.row, .half = batch.half});
  }
  void keep(std::span<GradientSums> sums, BlockGradients& block) {
    for (GradientSums& layer : sums) layer.gather(halves_);
    block.tokens = watersic::token_weights(config_, sums);
    for (const LinearSite& site : linear_sites(config_, 0)) {
      GradientSums& layer = sums[site.linear];
      Stored& stored = block.metrics[site.linear];
      stored = {.at = 0, .rows = site.rows, .diagonal = layer.is_diagonal()};
      stored.at = out_.scratch_.put(layer.take_metric(pool_));
    }
  }

  const Context& context_;
  ThreadPool& pool_;
  const Halves halves_;
  const ModelConfig& config_;
  const WeightSource& source_;
  int64_t length_;
  RopeTable rope_;
  TokenBatches batches_;
  std::vector<Matrix<float>> X_;              // by round: the stream, and then its gradient
  ScratchFile inputs_;                        // the streams before the blocks,
  std::vector<std::vector<int64_t>> places_;  // and where, by block and round
  OutputGradients& out_;
};

OutputGradients::OutputGradients(const Context& context, const ModelConfig& config,
                                 const WeightSource& source,
                                 std::span<const std::vector<int32_t>> windows, uint64_t seed,
                                 const std::filesystem::path& scratch, bool layers)
    : tokens_(token_count(config, windows)), scratch_(scratch) {
  const size_t length = windows.front().size();
  Pass pass(context, config, source, windows.first(static_cast<size_t>(tokens_) / length), scratch,
            *this);
  pass.forward();
  pass.through_head(seed);
  pass.backward(layers);
}

Matrix<double> OutputGradients::metric(ThreadPool& pool, int64_t block, Linear linear) const {
  const Stored& stored = blocks_[static_cast<size_t>(block)].metrics[linear];
  const int64_t a = stored.rows;
  std::vector<float> values(static_cast<size_t>(stored.diagonal ? a : a * (a + 1) / 2));
  scratch_.get(stored.at, values);
  Matrix<double> out(stored.diagonal ? 1 : a, a);
  if (stored.diagonal) {
    std::ranges::copy(values, out.row(0).begin());
    return out;
  }
  constexpr int64_t kTile = 64;  // of rows and columns, so that both triangles stay in cache
  const auto value = [&](int64_t i, int64_t j) {
    return static_cast<double>(values[static_cast<size_t>(i * (i + 1) / 2 + j)]);
  };
  pool.parallel_for(tile_count(a, kTile), [&](int64_t tile) {
    const int64_t begin = tile * kTile, end = std::min(a, begin + kTile);
    for (int64_t left = 0; left < end; left += kTile)
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = left; j < std::min(i + 1, left + kTile); ++j)
          out(i, j) = out(j, i) = value(i, j);
  });
  return out;
}

OutputMetrics OutputGradients::metrics(ThreadPool& pool, int64_t block) const {
  OutputMetrics out;
  for (size_t l = 0; l < out.size(); ++l) out[l] = metric(pool, block, static_cast<Linear>(l));
  return out;
}

}  // namespace watersic
