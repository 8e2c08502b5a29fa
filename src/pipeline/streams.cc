#include "pipeline/streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "model/forward.h"
#include "watersic/error.h"

namespace watersic {

Streams::Streams(const Context& context, const ModelConfig& config, int64_t length, Matrix<float> X,
                 bool two, const std::filesystem::path& scratch)
    : context_(context),
      pool_(context.pool()),
      config_(config),
      rope_(config, length),
      length_(length),
      two_(two),
      X_(std::move(X)),
      scratch_(scratch),
      keeps_(two && !scratch.empty()) {
  if (two_) Xq_ = X_;
}

void Streams::for_each_batch(const std::function<void(const Batch&)>& body) {
  const int64_t windows = std::max<int64_t>(1, kBatchTokens / length_), step = windows * length_;
  for (int64_t row = 0; row < X_.rows(); row += step) {
    context_.check();
    const Batch batch{static_cast<size_t>(row / step), row, std::min(step, X_.rows() - row)};
    try {
      body(batch);
    } catch (const Error& e) {
      throw Error(fmt::format("calibration windows {} to {}: {}", row / length_,
                              (row + batch.rows) / length_ - 1, e.what()));
    }
  }
}

void Streams::forget() {
  kept_.clear();
  scratch_.clear();
}

void Streams::begin_block(BlockWeights original) {
  original_ = std::move(original);
  if (two_) quantized_ = original_;
}

Matrix<float> Streams::input_of(Capture stage, const BlockWeights& weights,
                                MatrixView<const float> X, std::vector<float>* received) {
  if (stage == Capture::kQkv || stage == Capture::kO) {
    Matrix<float> A = attention_input(pool_, config_, weights, X);
    if (stage == Capture::kQkv && received == nullptr) return A;
    Matrix<float> H = attention(pool_, config_, rope_, weights, length_, A, received);
    return stage == Capture::kQkv ? std::move(A) : std::move(H);
  }
  Matrix<float> M = mlp_input(pool_, config_, weights, X);
  if (stage == Capture::kGateUp) return M;
  return mlp_hidden(pool_, weights, length_, M);
}

// The quantized stream lags behind: it gets a layer's output when that layer is in place, that is
// when the next stage begins.
void Streams::bring_up_to(Capture stage, const Batch& batch) {
  if (!two_ || stage != Capture::kGateUp) return;
  add_linear(pool_, quantized_, kOutput, length_, quantized_input(Capture::kO, batch),
             part(Xq_, batch));
}

Matrix<float> Streams::quantized_input(Capture stage, const Batch& batch) {
  if (batch.index >= kept_.size()) return input_of(stage, quantized_, part(Xq_, batch));
  Matrix<float> out(batch.rows, stage == Capture::kO ? config_.query_size() : config_.intermediate);
  scratch_.get(kept_[batch.index], out.values());
  return out;
}

void Streams::visit(Capture stage, const StageWanted& wanted, StageMoments* moments) {
  // q, k, v read the stream and add nothing to it, and so do gate and up.
  const bool adds = stage == Capture::kO || stage == Capture::kDown;
  next_inputs_.clear();
  if (adds || stage == Capture::kQkv) forget();
  if (moments == nullptr && !adds && (!two_ || stage == Capture::kQkv)) return;
  for_each_batch([&](const Batch& batch) {
    bring_up_to(stage, batch);
    if (moments == nullptr && !adds) return;
    std::vector<float> received;
    const MatrixView<float> X = part(X_, batch);
    const Matrix<float> input =
        input_of(stage, original_, X, wanted.attention ? &received : nullptr);
    if (moments != nullptr) {
      if (!wanted.tokens.empty()) {
        received.resize(static_cast<size_t>(batch.rows), 1.0F);
        for (int64_t i = 0; i < batch.rows; ++i)
          if (const auto token = static_cast<size_t>(batch.row + i); token < wanted.tokens.size())
            received[static_cast<size_t>(i)] *= wanted.tokens[token];
      }
      StageBatch sums{.X = input, .X_quantized = {}, .p = received, .residual = {}};
      Matrix<float> quantized, residual;
      if (two_) {
        quantized = input_of(stage, quantized_, part(Xq_, batch));
        if (adds && keeps_) kept_.push_back(scratch_.put(quantized.values()));
        sums.X_quantized = quantized;
        if (wanted.residual) {
          residual = Matrix<float>(batch.rows, X.cols());
          const MatrixView<float> Xq = part(Xq_, batch);
          for (int64_t i = 0; i < batch.rows; ++i)
            for (int64_t j = 0; j < X.cols(); ++j) residual(i, j) = X(i, j) - Xq(i, j);
          sums.residual = residual;
        }
      }
      moments->add(pool_, sums);
    }
    if (adds)
      add_linear(pool_, original_, stage == Capture::kO ? kOutput : kDown, length_, input, X);
  });
}

StageStatistics Streams::statistics(Capture stage, const StageWanted& wanted) {
  assert(!wanted.attention || stage == Capture::kQkv);
  StageMoments moments(wanted.drift, wanted.both);
  visit(stage, wanted, &moments);
  return moments.take();
}

void Streams::pass(Capture stage) { visit(stage, {}, nullptr); }

void Streams::end_block() {
  if (!two_) return;
  for_each_batch([&](const Batch& batch) {
    const MatrixView<float> Xq = part(Xq_, batch);
    add_linear(pool_, quantized_, kDown, length_, quantized_input(Capture::kDown, batch), Xq);
    check_finite(pool_, quantized_.block, "output", Xq);
  });
}

StageStatistics Streams::head_statistics(std::span<const float> norm, bool drift) {
  StageMoments moments(drift);
  for_each_batch([&](const Batch& batch) {
    const auto normed = [&](MatrixView<const float> X) {
      Matrix<float> Y(X.rows(), X.cols());
      rms_norm(pool_, X, norm, config_.norm_epsilon, Y);
      return Y;
    };
    const Matrix<float> X = normed(part(X_, batch));
    const Matrix<float> Xq = two_ ? normed(part(Xq_, batch)) : Matrix<float>();
    moments.add(pool_, {.X = X, .X_quantized = Xq, .p = {}, .residual = {}});
  });
  return moments.take();
}

double Streams::next_input_error(Capture stage, int64_t tokens) {
  assert(two_ && (stage == Capture::kQkv || stage == Capture::kGateUp));
  const Capture next = stage == Capture::kQkv ? Capture::kO : Capture::kDown;
  double error = 0, energy = 0;
  size_t seen = 0;
  for_each_batch([&](const Batch& batch) {
    if (batch.row >= tokens) return;
    if (seen == next_inputs_.size())
      next_inputs_.push_back(input_of(next, original_, part(X_, batch)));
    const Matrix<float>& u = next_inputs_[seen++];
    const Matrix<float> uq = input_of(next, quantized_, part(Xq_, batch));
    for (size_t i = 0; i < u.values().size(); ++i) {
      const double x = u.values()[i], difference = uq.values()[i] - x;
      error += difference * difference;
      energy += x * x;
    }
  });
  return energy > 0 ? error / energy : 0;
}

}  // namespace watersic
