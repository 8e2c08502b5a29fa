// The training loop (WaterSIC-FT, arXiv 2603.04956; docs/finetune.md).
#include "watersic/finetune.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <span>
#include <utility>

#include "base/memory.h"
#include "base/rng.h"
#include "container/read_container.h"
#include "container/write_container.h"
#include "finetune/adam.h"
#include "finetune/tuned_model.h"
#include "io/json.h"
#include "model/forward.h"
#include "model/model_backward.h"
#include "pipeline/calibrate.h"
#include "runtime/open_model.h"
#include "watersic/error.h"
#include "watersic/version.h"

namespace watersic {
namespace {

using Clock = std::chrono::steady_clock;
using Windows = std::vector<std::vector<int32_t>>;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void check(const FinetuneOptions& options) {
  const auto at_least_one = [](const char* what, int64_t value) {
    if (value < 1) throw Error(fmt::format("{}: expected at least 1, found {}", what, value));
  };
  at_least_one("samples", options.calibration.samples);
  at_least_one("held-out windows", options.held_out);
  at_least_one("epochs", options.epochs);
  at_least_one("batch", options.batch);
  if (options.calibration.source == CalibrationOptions::Source::kNone)
    throw Error("calibration: expected a text or self, found none: there is nothing to train on");
  const auto rate = [](const char* what, const std::optional<double>& value) {
    if (value && !(*value >= 0 && *value <= 1))
      throw Error(fmt::format("{}: expected 0 to 1, found {}", what, *value));
  };
  rate("learning rate", options.learning_rate);
  rate("final learning rate", options.final_learning_rate);
}

double norm(std::span<const double> x) {
  double square = 0;
  for (const double v : x) square += v * v;
  return std::sqrt(square);
}

// The original model's last hidden states for some windows: its logits are made from them when they
// are needed.
struct Data {
  Windows windows;
  Matrix<float> hidden;  // (windows * length) x the reference's hidden size
};

class Finetuner {
 public:
  Finetuner(const std::filesystem::path& input, const FinetuneOptions& options,
            const ProgressFn& progress)
      : options_(options),
        pool_(options.threads),
        context_(pool_, progress),
        reader_(input),
        model_(open_model(input, pool_)),
        reference_(open_model(options.reference, context_)),
        tuned_(reader_, model_->config(), pool_),
        head_(model_->config(), tuned_.weights()),
        reference_head_(reference_->config(), reference_->weights()) {
    if (model_->config().vocabulary != reference_->config().vocabulary) {
      throw Error(fmt::format("{}: expected the reference's vocabulary of {}, found {}",
                              input.string(), reference_->config().vocabulary,
                              model_->config().vocabulary));
    }
    report_.input = input.string();
    report_.reference = options.reference.string();
    report_.version = kVersion;
    report_.options = options;
    report_.input_id = model_->model_id();
    report_.reference_id = reference_->model_id();
    report_.input_bytes = static_cast<int64_t>(reader_.file_bytes());
    report_.input_bits = tuned_.bits(reader_.sections());
    report_.parameters = static_cast<int64_t>(tuned_.count());
  }

  FinetuneReport run(const std::filesystem::path& output) {
    const auto start = Clock::now();
    reset_peak_memory();
    ContainerWriter writer(output);  // says now if it can't be written
    report_.output = output.string();
    load_windows();
    train();
    tuned_.write(writer);
    const ContainerWriter::Summary summary =
        writer.finish(fmt::format("watersic {}", kVersion), manifest_options());
    report_.output_id = summary.model_id;
    report_.output_bytes = static_cast<int64_t>(summary.file_bytes);
    report_.output_bits = tuned_.bits(summary.sections);
    report_.peak_bytes = peak_memory();
    report_.seconds = seconds_since(start);
    return std::move(report_);
  }

 private:
  // Windows, and which of them are held out: picked at random, so that both kinds are of all the
  // text.
  void load_windows() {
    CalibrationOptions wanted = options_.calibration;
    wanted.samples += options_.held_out;
    Windows all = calibration_windows(context_,
                                      {.name = reference_->name(),
                                       .config = reference_->config(),
                                       .weights = reference_->weights(),
                                       .tokenizer = [this] { return reference_->tokenizer(); }},
                                      wanted, options_.seed);
    const auto count = static_cast<int64_t>(all.size());
    length_ = static_cast<int64_t>(all.front().size());
    if (count <= options_.held_out) {
      throw Error(
          fmt::format("expected more than the {} held-out windows of {} tokens, found {} in all",
                      options_.held_out, length_, count));
    }
    if (length_ > model_->config().max_positions) {
      throw Error(fmt::format("sequence length: expected at most {}, the context of {}, found {}",
                              model_->config().max_positions, model_->name(), length_));
    }
    Rng rng(options_.seed);
    const auto held = rng.choose(count, options_.held_out);
    for (int64_t i = 0; i < count; ++i) {
      Data& to = std::binary_search(held.begin(), held.end(), i) ? held_out_ : training_;
      to.windows.push_back(std::move(all[static_cast<size_t>(i)]));
    }
    for (Data* data : {&training_, &held_out_}) {
      data->hidden = forward_all(context_.as("original model"), reference_->config(),
                                 reference_->weights(), data->windows);
    }
    report_.windows = static_cast<int64_t>(training_.windows.size());
    report_.held_out_windows = static_cast<int64_t>(held_out_.windows.size());
    report_.window_tokens = length_;
  }

  void train() {
    const auto count = static_cast<int64_t>(training_.windows.size());
    const int64_t each = (count + options_.batch - 1) / options_.batch;
    report_.steps = each * options_.epochs;
    settle_learning_rates();
    std::vector<double> factors(tuned_.count(), 1.0), best = factors;
    Adam adam(factors.size());
    Rng rng(options_.seed);
    std::vector<int64_t> order(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) order[static_cast<size_t>(i)] = i;

    report_.kl_bits_before = report_.kl_bits_after = held_out_kl();
    tell(0, fmt::format("before: held-out KL {:.6f} bits a token", report_.kl_bits_before));
    int64_t step = 0;
    for (int64_t epoch = 1; epoch <= options_.epochs; ++epoch) {
      const auto start = Clock::now();
      FinetuneReport::Epoch now;
      for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);
      for (int64_t first = 0; first < count; first += options_.batch) {
        const auto some =
            std::span(order).subspan(static_cast<size_t>(first),
                                     static_cast<size_t>(std::min(options_.batch, count - first)));
        std::vector<double> gradient(factors.size());
        const double kl = batch_gradient(some, gradient);
        const double length = norm(gradient);
        if (!std::isfinite(kl) || !std::isfinite(length))
          throw Error(
              fmt::format("epoch {}: the KL divergence is {} and its gradient {}: expected "
                          "finite numbers; try a lower learning rate",
                          epoch, kl, length));
        for (double& g : gradient) g /= std::max(1.0, length);
        now.learning_rate = learning_rate(step++);
        adam.step(now.learning_rate, gradient, factors);
        tuned_.set(factors);
        now.kl_bits += kl * static_cast<double>(some.size()) / static_cast<double>(count);
        now.gradient_norm += length / static_cast<double>(each);
        tell(step, "");
      }
      now.held_out_kl_bits = held_out_kl();
      now.seconds = seconds_since(start);
      if (now.held_out_kl_bits < report_.kl_bits_after) {
        report_.kl_bits_after = now.held_out_kl_bits;
        report_.best_epoch = epoch;
        best = factors;
      }
      tell(step, fmt::format("epoch {}: KL {:.6f} bits a token in training, {:.6f} held out", epoch,
                             now.kl_bits, now.held_out_kl_bits));
      report_.epochs.push_back(now);
    }
    tuned_.set(best);
  }

  void settle_learning_rates() {
    const double moves = 0.16 / static_cast<double>(report_.steps);
    first_rate_ = options_.learning_rate.value_or(std::clamp(moves, 1e-4, 1e-2));
    final_rate_ = options_.final_learning_rate.value_or(first_rate_ / 100);
    report_.options.learning_rate = first_rate_;
    report_.options.final_learning_rate = final_rate_;
  }

  // Half a cosine from the first step to the last.
  double learning_rate(int64_t step) const {
    const double last = static_cast<double>(std::max<int64_t>(1, report_.steps - 1));
    const double fraction = (1 + std::cos(std::numbers::pi * static_cast<double>(step) / last)) / 2;
    return final_rate_ + (first_rate_ - final_rate_) * fraction;
  }

  // The mean KL over the batch's tokens, in bits, and its gradient in nats. The batch runs in parts
  // of about kBatchTokens tokens, which bounds the memory.
  double batch_gradient(std::span<const int64_t> batch, std::span<double> gradient) {
    const ModelConfig& config = model_->config();
    const int64_t part = std::max<int64_t>(1, kBatchTokens / length_);
    const double tokens = static_cast<double>(static_cast<int64_t>(batch.size()) * length_);
    double sum = 0;
    while (!batch.empty()) {
      const auto some = batch.first(std::min(batch.size(), static_cast<size_t>(part)));
      batch = batch.subspan(some.size());
      Windows windows;
      for (const int64_t w : some) windows.push_back(training_.windows[static_cast<size_t>(w)]);
      sum += model_backward(
          pool_, config, tuned_.weights(), head_, windows,
          [&](int64_t first, MatrixView<float> logits) {
            Matrix<float> hidden(logits.rows(), training_.hidden.cols());
            for (int64_t i = 0; i < logits.rows(); ++i) {
              const int64_t window = some[static_cast<size_t>((first + i) / length_)];
              std::ranges::copy(training_.hidden.row(window * length_ + (first + i) % length_),
                                hidden.row(i).begin());
            }
            Matrix<float> reference = reference_head_.logits(pool_, hidden);
            return kl_loss(pool_, static_cast<float>(1 / tokens), reference, logits);
          },
          [&](int64_t block, Linear linear, const LinearGradient& layer) {
            tuned_.add_gradient(linear_sites(config, block)[static_cast<size_t>(linear)].name,
                                layer.W, layer.dW(pool_), gradient);
          });
    }
    return sum / tokens / std::numbers::ln2;
  }

  double held_out_kl() {
    const Matrix<float> hidden =
        forward_all(pool_, model_->config(), tuned_.weights(), held_out_.windows);
    double sum = 0;
    for (int64_t first = 0; first < hidden.rows(); first += kLossRows) {
      const int64_t rows = std::min(kLossRows, hidden.rows() - first);
      const auto part = [&](const Matrix<float>& all) {
        return all.view().block(first, 0, rows, all.cols());
      };
      Matrix<float> reference = reference_head_.logits(pool_, part(held_out_.hidden)),
                    logits = head_.logits(pool_, part(hidden));
      sum += kl_loss(pool_, 1, reference, logits);
    }
    return sum / static_cast<double>(hidden.rows()) / std::numbers::ln2;
  }

  // What the file was made with, and how it was trained.
  Json manifest_options() const {
    const Json manifest = reader_.manifest();
    Json options = manifest.value("options", Json::object());
    Json mine = Json::parse(to_json(report_)).at("options");
    mine["best_epoch"] = report_.best_epoch;
    options["finetune"] = std::move(mine);
    return options;
  }

  void tell(int64_t step, const std::string& detail) const {
    context_.tell("fine-tuning", "steps", step, report_.steps, detail);
  }

  FinetuneOptions options_;
  ThreadPool pool_;
  const Context context_;
  ContainerReader reader_;
  std::unique_ptr<OpenModel> model_, reference_;
  TunedModel tuned_;
  OutputHead head_, reference_head_;
  Data training_, held_out_;
  int64_t length_ = 0;  // tokens in a window
  double first_rate_ = 0, final_rate_ = 0;
  FinetuneReport report_;
};

}  // namespace

FinetuneReport finetune(const std::filesystem::path& input, const std::filesystem::path& output,
                        const FinetuneOptions& options, const ProgressFn& progress) {
  check(options);
  return Finetuner(input, options, progress).run(output);
}

}  // namespace watersic
