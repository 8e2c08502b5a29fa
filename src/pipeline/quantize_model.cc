// The pass over a model: block by block, and in a block stage by stage (q, k, v; o; gate, up;
// down), each with statistics taken when the stages before it are quantized. What a stage leaves is
// saved before the next begins; the file is written at the end.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/threads.h"
#include "checkpoint/open_checkpoint.h"
#include "coding/dec_tensor.h"
#include "io/json.h"
#include "model/config.h"
#include "model/forward.h"
#include "pipeline/basis_choice.h"
#include "pipeline/calibrate.h"
#include "pipeline/embeddings.h"
#include "pipeline/gradient_shares.h"
#include "pipeline/identity.h"
#include "pipeline/memory_plan.h"
#include "pipeline/model_basis.h"
#include "pipeline/model_file.h"
#include "pipeline/model_options.h"
#include "pipeline/output_gradients.h"
#include "pipeline/plan.h"
#include "pipeline/quantize_by_ranks.h"
#include "pipeline/quantized_matrix.h"
#include "pipeline/rates.h"
#include "pipeline/sensitivity.h"
#include "pipeline/sharing.h"
#include "pipeline/stage.h"
#include "pipeline/stopwatch.h"
#include "pipeline/streams.h"
#include "pipeline/work_folder.h"
#include "watersic/error.h"
#include "watersic/quantize.h"
#include "watersic/version.h"

namespace watersic {
namespace {

// In bits a weight, of an embedding or head whose rate was left open: it saves a pass.
constexpr double kLooseTolerance = 0.03;

class ModelQuantizer {
 public:
  ModelQuantizer(const std::filesystem::path& model_dir, const std::filesystem::path& output,
                 const QuantizeOptions& options, const ProgressFn& progress, const StopFn& stop,
                 const Communicator& ranks)
      : output_(output),
        asked_(options),
        options_(options),
        pool_(options.threads > 0 || ranks.alone() ? options.threads : threads_of_rank(ranks)),
        context_(
            pool_, progress,
            [this, &stop, &ranks] {
              if (any(ranks, stop && stop()))
                throw Interrupted(
                    fmt::format("{}: stopped; a run with resume continues it", output_.string()));
            },
            ranks),
        checkpoint_(open_checkpoint(model_dir, progress)),
        config_(checkpoint_->config()),
        basis_(pool_, config_, checkpoint_->weights()),
        file_(output_, *checkpoint_, basis_) {
    at_root(ranks, [&] { check_writable(output); });
    zero_rows_ = parse_zero_rows(options.zero_rows, config_);
    report_.model = model_dir.string();
    report_.output = output.string();
    report_.version = kVersion;
  }

  QuantizeReport run() {
    const auto start = std::chrono::steady_clock::now();
    // A file whose tokenizer can't be read could not be evaluated.
    if (checkpoint_->text("tokenizer.json")) checkpoint_->tokenizer();
    settle(resolved_basis(config_, asked_));
    watch_.stage("hashing");
    identity_ = run_identity(*checkpoint_, options_);
    if (!asked_.model.basis) identity_["options"]["basis"] = "open";
    check_ranks(context_.ranks(), identity_);
    const WorkFolder work(output_, identity_, options_.resume, context_.ranks());
    try {
      quantize_blocks(work);
    } catch (const Interrupted&) {
      throw;
    } catch (...) {
      work.remove_if_unused();
      throw;
    }
    watch_.stage("writing");
    at_root(context_.ranks(), [&] { file_.write(plan_, embeddings_, work, report_); });
    watch_.stop();
    work.remove();
    report_.stages = watch_.stages();
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(report_);
  }

 private:
  // What follows from the options that were asked for, and from the basis. Throws Error where they
  // can't be met.
  void settle(Basis basis) {
    options_ = asked_;
    options_.model = resolved_model_options(asked_);
    options_.model.basis = basis;
    plan_ = plan_layers(config_, options_);
    rates_ = settle_rates(pool_, config_, plan_, file_, options_);
    axes_bits_ = axes_bits(config_, basis);
    budget_ = rates_.budget(axes_bits_);
    check_budget(pool_, plan_, budget_);
    embeddings_ = plan_embeddings(config_, options_);
    report_.options = options_;
    report_.target_bits = rates_.target;
    report_.quantized_weights = rates_.weights;
  }

  void quantize_blocks(const WorkFolder& work) {
    watch_.stage("calibration text");
    const auto windows = windows_of(work);
    report_.calibration_windows = static_cast<int64_t>(windows.size());
    const auto length = windows.empty() ? 0 : static_cast<int64_t>(windows.front().size());
    report_.calibration_tokens = report_.calibration_windows * length;
    const Allocation allocation = *options_.model.allocation;
    const bool by_layer = takes_gradients(options_.model);
    const MemoryPlan memory = plan_memory(config_, plan_, embeddings_,
                                          {.windows = report_.calibration_windows,
                                           .length = length,
                                           .two = *options_.model.drift,
                                           .gradients = by_layer,
                                           .metrics = metrics_minded(),
                                           .ranks = context_.ranks().size()},
                                          options_.memory);

    if (*options_.model.basis != Basis::kNative) turn_basis(windows, work);
    const bool embeddings_left =
        std::any_of(embeddings_.begin(), embeddings_.end(),
                    [&](const EmbeddingPlan& plan) { return !work.matrix(plan.name); });
    if (by_layer || (length > 0 && embeddings_left)) {
      watch_.stage("gradients");
      gradients_ = std::make_unique<OutputGradients>(context_, basis_.config(), basis_.weights(),
                                                     windows, options_.seed, scratch(), by_layer);
    }
    if (allocation != Allocation::kUniform) share_bits_unevenly(windows, work);

    watch_.stage("statistics");
    std::optional<Streams> streams;
    if (length > 0) {
      streams.emplace(context_, basis_.config(), static_cast<int64_t>(windows.size()), length,
                      embed_by(basis_.config(), basis_.weights(), windows), *options_.model.drift,
                      scratch(), memory.streams_in_file);
    }
    for (const EmbeddingPlan& plan : embeddings_) {
      if (plan.is_head()) continue;
      quantize_embedding(plan, work, [&] {
        return length == 0 ? blind_problem(plan.cols) : problem_of(plan, windows);
      });
      if (streams && streams->two()) {
        const FinishedStage finished = *work.matrix(kEmbedding);
        const CodedEmbedding embedding(pool_, finished.tensors.front());
        streams->set_quantized_input([&](int64_t first, int64_t count) {
          return basis_.to_stream(embedding.of(
              std::span(windows).subspan(static_cast<size_t>(first), static_cast<size_t>(count))));
        });
      }
    }
    for (int64_t block = 0; block < config_.blocks; ++block)
      quantize_block(block, streams ? &*streams : nullptr, work);
    for (const EmbeddingPlan& plan : embeddings_) {
      if (!plan.is_head()) continue;
      quantize_embedding(plan, work, [&] {
        return length == 0 ? blind_problem(plan.cols)
                           : head_problem(pool_,
                                          streams->head_statistics(
                                              basis_.weights().vector(kFinalNorm), streams->two()),
                                          *gradients_);
      });
    }
  }

  // Of the embedding.
  EmbeddingProblem problem_of(const EmbeddingPlan& plan,
                              const std::vector<std::vector<int32_t>>& windows) const {
    return embedding_problem(config_, plan.tied, windows, *gradients_,
                             basis_.from_stream(gradients_->stream()),
                             basis_.from_head(gradients_->head().S));
  }

  void quantize_embedding(const EmbeddingPlan& plan, const WorkFolder& work,
                          const std::function<EmbeddingProblem()>& problem_of) {
    context_.check();
    auto saved = work.matrix(plan.name);
    if (!saved) {
      watch_.stage("gradients");
      const EmbeddingProblem problem = problem_of();
      watch_.stage("quantizing");
      saved.emplace();
      at_root(context_.ranks(), [&] {
        const Matrix<float> W = tall_matrix(basis_.stored(), plan.name);
        QuantizedMatrix done =
            quantize_matrix(pool_, plan.name, problem.problem(W), plan.options,
                            is_loose(plan.name) ? kLooseTolerance : kRateTolerance);
        *saved = {
            .layers = {std::move(done.report)}, .tensors = {std::move(done.bytes)}, .outliers = {}};
      });
      share(context_.ranks(), 0, *saved);
      work.save_matrix(plan.name, *saved);
    }
    report_.embeddings.push_back(saved->layers.front());
  }

  // Whether nobody has asked for just so many bits of it, neither itself nor in a file of a size.
  bool is_loose(const std::string& name) const {
    return options_.file_size == 0 && std::ranges::find(rates_.open, name) != rates_.open.end();
  }

  // From here on the model is seen in its basis, and what the basis takes of the file is no longer
  // there for the layers.
  void turn_basis(const std::vector<std::vector<int32_t>>& windows, const WorkFolder& work) {
    watch_.stage("basis");
    auto saved = work.basis();
    if (!saved) {
      std::optional<double> bits;
      if (!asked_.model.basis) bits = budget_.average();
      saved = settle_basis(context_, config_, checkpoint_->weights(), windows,
                           *options_.model.basis, bits);
      work.save_basis(*saved);
    }
    if (saved->rotation.heads.empty()) {
      settle(Basis::kNative);
      return;
    }
    basis_.turn(std::move(*saved));
    if (!basis_.axes().empty()) axes_bits_ = 8 * static_cast<double>(file_.axes_bytes());
    budget_ = rates_.budget(axes_bits_);
  }

  // How much more or less than the others each layer gets.
  void share_bits_unevenly(const std::vector<std::vector<int32_t>>& windows,
                           const WorkFolder& work) {
    watch_.stage("sensitivity");
    double bits = budget_.average();
    const bool counted = options_.file_size > 0;
    auto saved = work.sensitivities();
    if (!saved) {
      const std::vector<double> floors = least_shares(pool_, plan_, bits);
      std::vector<OpenMatrix> open = open_matrices(windows);
      const double average = counted ? average_with(open) : bits;
      // No fewer bits than all have on average: what the calibration text holds of a vocabulary is
      // little.
      for (OpenMatrix& matrix : open) matrix.floor = std::max(matrix.floor, average);
      if (*options_.model.allocation == Allocation::kGradient) {
        saved = share_by_gradients(
            context_, basis_.config(), basis_.weights(), windows, plan_, *gradients_,
            *options_.model.token_weighting,
            {.bits = average, .floors = floors, .open = open, .counted = counted});
      } else {
        saved = measure_sensitivities(context_, basis_.config(), basis_.weights(), windows, plan_,
                                      metrics_minded() ? gradients_.get() : nullptr, bits);
        share_by_sensitivity(*saved, bits, floors);
      }
      work.save_sensitivities(*saved);
    }
    if (!rates_.open.empty()) {
      settle_open(config_, *saved, counted, options_, rates_);
      embeddings_ = plan_embeddings(config_, options_);
      report_.options = options_;
      report_.target_bits = rates_.target;
      budget_ = rates_.budget(axes_bits_);
      bits = budget_.average();
    }
    set_shares(*saved, bits, plan_);
    report_.sensitivities = std::move(*saved);
  }

  // What the shares are of beside the layers.
  std::vector<OpenMatrix> open_matrices(const std::vector<std::vector<int32_t>>& windows) {
    std::vector<OpenMatrix> out;
    for (const EmbeddingPlan& plan : embeddings_) {
      if (std::ranges::find(rates_.open, plan.name) == rates_.open.end()) continue;
      const HeadStatistics& head = gradients_->head();
      const double energy = mean_square_of(basis_.stored(), plan.name);
      LayerParts parts;
      if (plan.is_head()) {
        parts = parts_of_rows(pool_, energy, basis_.from_head(head.S), head.metric, false);
      } else {
        const EmbeddingProblem problem = problem_of(plan, windows);
        parts = parts_of_rows(pool_, energy, problem.moments.S, problem.row_weights, true);
      }
      const double least = minimum_bits(pool_, plan.rows, plan.cols, plan.options, stored_size);
      out.push_back({.name = plan.name,
                     .weights = plan.weights(),
                     .parts = std::move(parts),
                     .floor = 1.1 * least});
    }
    return out;
  }
  // Bits a weight of the layers that share them, and of the open matrices as they stand.
  double average_with(const std::vector<OpenMatrix>& open) const {
    auto weights = static_cast<double>(rates_.weights - rates_.fixed_weights);
    double sum = budget_.average() * weights;
    for (const OpenMatrix& matrix : open) {
      const auto each = static_cast<double>(matrix.weights);
      sum += each * (matrix.name == kHead ? *options_.head_bits : *options_.embedding_bits);
      weights += each;
    }
    return sum / weights;
  }
  std::filesystem::path scratch() const { return output_.string() + ".scratch"; }
  bool metrics_minded() const { return *options_.model.output_metric; }

  std::vector<std::vector<int32_t>> windows_of(const WorkFolder& work) {
    if (auto saved = work.windows()) return *saved;
    const auto make = [this](const Context& context) {
      return calibration_windows(context,
                                 {.name = checkpoint_->name(),
                                  .config = config_,
                                  .weights = checkpoint_->weights(),
                                  .tokenizer = [this] { return checkpoint_->tokenizer(); }},
                                 options_.calibration, options_.seed);
    };
    // Of a run's identity they depend on the version, the model and the calibration, and on the
    // seed.
    const Json identity = {{"version", identity_["version"]},
                           {"input", identity_["input"]},
                           {"calibration", identity_["options"]["calibration"]},
                           {"seed", identity_["options"]["seed"]}};
    std::vector<std::vector<int32_t>> windows;
    if (options_.windows_file.empty()) {
      windows = make(context_);
    } else {
      at_root(context_.ranks(), [&] {
        windows = shared_windows(options_.windows_file, identity,
                                 [&] { return make(Context(pool_, context_.progress())); });
      });
      share(context_.ranks(), 0, windows);
    }
    work.save_windows(windows);
    return windows;
  }

  void quantize_block(int64_t block, Streams* streams, const WorkFolder& work) {
    watch_.stage("statistics");
    BlockWeights weights = load_block(pool_, basis_.config(), basis_.weights(), block);
    if (zero_rows_.contains(block)) take_out(zero_rows_.at(block), weights);
    if (streams != nullptr) streams->begin_block(std::move(weights));
    const BlockWeights& original = streams != nullptr ? streams->original() : weights;
    const double before = report_bits_;
    int64_t block_weights = 0;
    for (const Capture stage : kStages) {
      context_.check();
      std::vector<LayerPlan> layers;
      for (const LayerPlan& layer : plan_[static_cast<size_t>(block)])
        if (layer.site.input == stage) layers.push_back(layer);
      FinishedStage finished;
      if (auto saved = work.stage(block, stage)) {
        finished = std::move(*saved);
        if (streams != nullptr) streams->pass(stage);
      } else {
        finished =
            StageQuantizer(context_, options_, budget_, original, gradients_.get(), streams, watch_)
                .run(stage, layers);
        work.save_stage(block, stage, finished);
      }
      install(layers, finished, original, streams);
      for (const LayerReport& layer : finished.layers) {
        block_weights += layer.rows * layer.cols;
        report_bits_ += counted_bits(layer) * static_cast<double>(layer.rows * layer.cols);
        report_.layers.push_back(layer);
      }
      report_.outliers.insert(report_.outliers.end(), finished.outliers.begin(),
                              finished.outliers.end());
    }
    watch_.stage("statistics");
    if (streams != nullptr) streams->end_block();
    context_.tell("quantizing", "blocks", block + 1, config_.blocks,
                  fmt::format("block {}: {:.4f} bits a weight", block,
                              (report_bits_ - before) / static_cast<double>(block_weights)));
  }

  double counted_bits(const LayerReport& layer) const {
    return options_.rate == RateTarget::kPaper ? layer.bits.paper_rate : layer.bits.file;
  }

  // What the file will hold takes the original's place in the quantized stream, and is accounted
  // for: whether it was quantized now or before the run was interrupted makes no difference.
  void install(const std::vector<LayerPlan>& layers, const FinishedStage& finished,
               const BlockWeights& weights, Streams* streams) {
    for (size_t i = 0; i < layers.size(); ++i) {
      const LayerPlan& layer = layers[i];
      if (!layer.fixed)
        budget_.spent(layer.weights(), counted_bits(finished.layers[i]), layer.offset);
      if (streams == nullptr || !streams->two()) continue;
      Matrix<float>& place = streams->quantized().linear[layer.site.linear].weight;
      if (layer.keep) {
        place = weights.linear[layer.site.linear].weight;
      } else {
        place = dequantize(decode_tensor(finished.tensors[i], pool_, layer.site.name));
      }
    }
  }

  std::filesystem::path output_;
  const QuantizeOptions asked_;
  QuantizeOptions options_;  // none of them open
  ThreadPool pool_;
  const Context context_;
  std::unique_ptr<Checkpoint> checkpoint_;
  const ModelConfig& config_;  // of the checkpoint, and of the file
  ModelBasis basis_;
  const ModelFile file_;
  std::vector<std::vector<LayerPlan>> plan_;
  std::vector<EmbeddingPlan> embeddings_;
  ZeroRows zero_rows_;
  Rates rates_;
  double axes_bits_ = 0;  // that the basis takes of the file
  RateBudget budget_;
  Json identity_;
  QuantizeReport report_;
  Stopwatch watch_;
  std::unique_ptr<OutputGradients> gradients_;  // where something minds them
  double report_bits_ = 0;                      // spent so far
};

}  // namespace

QuantizeReport quantize_model(const std::filesystem::path& model_dir,
                              const std::filesystem::path& output, const QuantizeOptions& options,
                              const ProgressFn& progress, const StopFn& stop) {
  return quantize_by_ranks(all_ranks(), model_dir, output, options, progress, stop);
}

QuantizeReport quantize_by_ranks(const Communicator& ranks, const std::filesystem::path& model_dir,
                                 const std::filesystem::path& output,
                                 const QuantizeOptions& options, const ProgressFn& progress,
                                 const StopFn& stop) {
  return ModelQuantizer(model_dir, output, options, progress, stop, ranks).run();
}

}  // namespace watersic
