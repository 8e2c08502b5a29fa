// The pass over a model: block by block, and in a block stage by stage (q, k, v; o; gate, up;
// down), each with statistics taken when the stages before it are quantized. What a stage leaves is
// saved before the next begins; the file is written at the end.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>

#include "base/threads.h"
#include "coding/dec_tensor.h"
#include "container/common_texts.h"
#include "container/write_container.h"
#include "io/json.h"
#include "model/config.h"
#include "model/forward.h"
#include "model/open_checkpoint.h"
#include "pipeline/calibrate.h"
#include "pipeline/embeddings.h"
#include "pipeline/gradient_shares.h"
#include "pipeline/identity.h"
#include "pipeline/kept_tensor.h"
#include "pipeline/model_basis.h"
#include "pipeline/output_gradients.h"
#include "pipeline/plan.h"
#include "pipeline/principal_axes.h"
#include "pipeline/quantized_matrix.h"
#include "pipeline/report.h"
#include "pipeline/sensitivity.h"
#include "pipeline/stage.h"
#include "pipeline/stopwatch.h"
#include "pipeline/streams.h"
#include "pipeline/work_folder.h"
#include "watersic/error.h"
#include "watersic/file.h"
#include "watersic/quantize.h"
#include "watersic/version.h"

namespace watersic {
namespace {

constexpr Capture kStages[] = {Capture::kQkv, Capture::kO, Capture::kGateUp, Capture::kDown};

class ModelQuantizer {
 public:
  ModelQuantizer(const std::filesystem::path& model_dir, const std::filesystem::path& output,
                 const QuantizeOptions& options, const ProgressFn& progress, const StopFn& stop)
      : output_(output),
        options_(options),
        progress_(progress),
        stop_(stop),
        pool_(options.threads),
        checkpoint_(open_checkpoint(model_dir)),
        config_(checkpoint_->config()),
        basis_(pool_, config_, checkpoint_->weights()) {
    check_writable(output);
    options_.model = resolved_model_options(options);
    options_.model.basis = resolved_basis(config_, options);
    plan_ = plan_layers(config_, options_);
    embeddings_ = plan_embeddings(config_, options_);
    zero_rows_ = parse_zero_rows(options.zero_rows, config_);
    report_.model = model_dir.string();
    report_.output = output.string();
    report_.version = kVersion;
    report_.options = options_;
  }

  QuantizeReport run() {
    const auto start = std::chrono::steady_clock::now();
    // A file whose tokenizer can't be read could not be evaluated.
    if (checkpoint_->text("tokenizer.json")) checkpoint_->tokenizer();
    share_bits();
    watch_.stage("hashing");
    identity_ = run_identity(*checkpoint_, options_);
    const WorkFolder work(output_, identity_, options_.resume);
    try {
      quantize_blocks(work);
    } catch (const Interrupted&) {
      throw;
    } catch (...) {
      work.remove_if_unused();
      throw;
    }
    watch_.stage("writing");
    write_file(work);
    watch_.stop();
    work.remove();
    report_.stages = watch_.stages();
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    finish_totals();
    return std::move(report_);
  }

 private:
  void quantize_blocks(const WorkFolder& work) {
    watch_.stage("calibration text");
    const auto windows = windows_of(work);
    report_.calibration_windows = static_cast<int64_t>(windows.size());
    const auto length = windows.empty() ? 0 : static_cast<int64_t>(windows.front().size());
    report_.calibration_tokens = report_.calibration_windows * length;

    if (*options_.model.basis != Basis::kNative) turn_basis(windows, work);
    const Allocation allocation = *options_.model.allocation;
    const bool embeddings_left =
        std::any_of(embeddings_.begin(), embeddings_.end(),
                    [&](const EmbeddingPlan& plan) { return !work.matrix(plan.name); });
    if (metrics_minded() || *options_.model.token_weighting ||
        allocation == Allocation::kGradient || (length > 0 && embeddings_left)) {
      watch_.stage("gradients");
      gradients_ =
          std::make_unique<OutputGradients>(pool_, basis_.config(), basis_.weights(), windows,
                                            options_.seed, [this] { check_stop(); });
    }
    if (allocation != Allocation::kUniform) share_bits_unevenly(windows, work);

    watch_.stage("statistics");
    std::optional<Streams> streams;
    if (length > 0) {
      streams.emplace(pool_, basis_.config(), length,
                      embed_windows(basis_.config(), basis_.weights(), windows),
                      *options_.model.drift);
      streams->set_tick([this] { check_stop(); });
    }
    for (const EmbeddingPlan& plan : embeddings_) {
      if (plan.is_head()) continue;
      quantize_embedding(plan, work, [&] {
        return length == 0 ? blind_problem(plan.cols)
                           : embedding_problem(config_, plan.tied, windows, *gradients_,
                                               basis_.from_stream(gradients_->stream()),
                                               basis_.from_head(gradients_->head().S));
      });
      if (streams && streams->two()) streams->set_quantized_input(embed_quantized(windows, work));
    }
    for (int64_t block = 0; block < config_.blocks; ++block)
      quantize_block(block, streams ? &*streams : nullptr, work);
    for (const EmbeddingPlan& plan : embeddings_) {
      if (!plan.is_head()) continue;
      quantize_embedding(plan, work, [&] {
        return length == 0 ? blind_problem(plan.cols)
                           : head_problem(streams->head_statistics(
                                              basis_.weights().vector(kFinalNorm), streams->two()),
                                          *gradients_);
      });
    }
  }

  void quantize_embedding(const EmbeddingPlan& plan, const WorkFolder& work,
                          const std::function<EmbeddingProblem()>& problem_of) {
    check_stop();
    auto saved = work.matrix(plan.name);
    if (!saved) {
      watch_.stage("gradients");
      const EmbeddingProblem problem = problem_of();
      watch_.stage("quantizing");
      const Matrix<float> W = basis_.stored().matrix(plan.name);
      QuantizedMatrix done = quantize_matrix(pool_, plan.name, problem.problem(W), plan.options);
      saved = FinishedStage{
          .layers = {std::move(done.report)}, .tensors = {std::move(done.bytes)}, .outliers = {}};
      work.save_matrix(plan.name, *saved);
    }
    report_.embeddings.push_back(saved->layers.front());
  }

  // From here on the model is seen in its basis, and what the basis takes of the file is no longer
  // there for the layers.
  void turn_basis(const std::vector<std::vector<int32_t>>& windows, const WorkFolder& work) {
    watch_.stage("basis");
    auto saved = work.basis();
    if (!saved) {
      auto [rotation, variances] =
          principal_axes(pool_, config_, checkpoint_->weights(), windows, [this] { check_stop(); });
      saved = SavedBasis{.rotation = std::move(rotation), .axes = {}};
      Matrix<float>& stream = saved->rotation.stream;
      if (*options_.model.basis == Basis::kHeads) {
        stream = {};
      } else if (config_.tied_embeddings) {
        saved->axes = encode_axes(pool_, stream, variances);
        stream = decode_axes(pool_, saved->axes);
      }
      work.save_basis(*saved);
    }
    basis_.turn(std::move(*saved));
    if (!basis_.axes().empty()) share_bits();
  }

  // How much more or less than the others each layer gets.
  void share_bits_unevenly(const std::vector<std::vector<int32_t>>& windows,
                           const WorkFolder& work) {
    watch_.stage("sensitivity");
    auto& found = report_.sensitivities;
    const double bits = budget_.average();
    if (auto saved = work.sensitivities()) {
      found = std::move(*saved);
    } else {
      LeastBits least(pool_);
      std::vector<double> floors;
      for (const auto& block : plan_)
        for (const LayerPlan& layer : block)
          if (!layer.fixed) floors.push_back(1.1 * least(layer, bits));
      const auto tick = [this] { check_stop(); };
      if (*options_.model.allocation == Allocation::kGradient) {
        found = share_by_gradients(pool_, basis_.config(), basis_.weights(), windows, plan_,
                                   *gradients_, *options_.model.token_weighting, bits, floors, tick,
                                   progress_);
      } else {
        found = measure_sensitivities(pool_, basis_.config(), basis_.weights(), windows, plan_,
                                      metrics_minded() ? gradients_.get() : nullptr, bits, tick,
                                      progress_);
        share_by_sensitivity(found, bits, floors);
      }
      work.save_sensitivities(found);
    }
    size_t next = 0;
    for (auto& block : plan_) {
      for (LayerPlan& layer : block) {
        if (layer.fixed) continue;
        layer.sensitivity = found.at(next).sensitivity();
        layer.offset = found.at(next++).share - bits;
      }
    }
  }
  bool metrics_minded() const { return *options_.model.output_metric; }

  void check_stop() const {
    if (stop_ && stop_())
      throw Interrupted(fmt::format("{}: stopped; --resume continues the run", output_.string()));
  }

  // Before any work, and when the basis is known: can every layer have the bits that are asked for?
  void share_bits() {
    int64_t fixed_weights = 0, all = 0;
    double fixed_bits = 0;
    for (const auto& block : plan_) {
      for (const LayerPlan& layer : block) {
        all += layer.weights();
        if (!layer.fixed) continue;
        fixed_weights += layer.weights();
        fixed_bits += (layer.keep ? 16 : layer.options.bits) * static_cast<double>(layer.weights());
      }
    }
    report_.quantized_weights = all;
    for (const EmbeddingPlan& plan : embeddings_) {
      const double least = minimum_bits(pool_, plan.rows, plan.cols, plan.options, stored_size);
      if (plan.options.bits < least)
        throw Error(
            fmt::format("{}: {:.3f} bits a weight can't be met: its side information alone "
                        "needs {:.3f}",
                        plan.name, plan.options.bits, least));
    }
    if (options_.file_size > 0 && fixed_weights == all)
      throw Error("file size: every layer has a rate of its own, nothing is left to choose");
    fixed_bits += 8 * static_cast<double>(axes_bytes());
    report_.target_bits =
        options_.file_size > 0 ? bits_for_size(options_.file_size, all) : options_.bits;
    budget_ = RateBudget(report_.target_bits, all, fixed_weights, fixed_bits);
    check_budget(pool_, plan_, budget_);
  }

  // What is left of a file of this size for its quantized tensors, once all else is in it.
  double bits_for_size(int64_t size, int64_t weights) {
    ContainerWriter trial(output_.string() + ".size");
    constexpr int64_t kManifest = 4096;  // and the header: a little more than they take
    int64_t rest = write_texts(trial) + write_kept(trial) + kManifest;
    for (const EmbeddingPlan& plan : embeddings_)
      rest += static_cast<int64_t>(plan.options.bits * static_cast<double>(plan.weights()) / 8);
    const double bits = 8 * static_cast<double>(size - rest) / static_cast<double>(weights);
    if (!(bits >= 0.05)) {
      throw Error(
          fmt::format("file size: expected more than {} bytes, which the tokenizer and the tensors "
                      "that are kept "
                      "in 16 bits or have bits of their own take, found {}",
                      rest, size));
    }
    return std::min(bits, 16.0);
  }

  std::vector<std::vector<int32_t>> windows_of(const WorkFolder& work) {
    if (auto saved = work.windows()) return *saved;
    auto windows = options_.windows_file.empty() ? made_windows() : kept_windows();
    work.save_windows(windows);
    return windows;
  }

  // From the file that other runs share, or made and put there. Of a run's identity they depend on
  // the version, the model and the calibration, and on the seed.
  std::vector<std::vector<int32_t>> kept_windows() {
    const Json identity = {{"version", identity_["version"]},
                           {"input", identity_["input"]},
                           {"calibration", identity_["options"]["calibration"]},
                           {"seed", identity_["options"]["seed"]}};
    const std::filesystem::path& path = options_.windows_file;
    if (!std::filesystem::exists(path)) {
      auto windows = made_windows();
      watersic::write_file(path,
                           Json({{"identity", identity}, {"windows", windows}}).dump() + "\n");
      return windows;
    }
    const Json json = read_json(path, size_t{4} << 30);
    const JsonFields fields(json, path.string());
    if (const auto found = first_difference(fields.object("identity").json(), identity))
      throw Error(
          fmt::format("{}: holds the windows of another calibration: {}", path.string(), *found));
    try {
      return fields.array("windows").get<std::vector<std::vector<int32_t>>>();
    } catch (const Json::exception&) {
      fields.fail("windows", "arrays of token ids");
    }
  }

  std::vector<std::vector<int32_t>> made_windows() {
    const ProgressFn watched = [this](const ProgressEvent& event) {
      if (progress_) progress_(event);
      check_stop();
    };
    return calibration_windows(pool_,
                               {.name = checkpoint_->name(),
                                .config = config_,
                                .weights = checkpoint_->weights(),
                                .tokenizer = [this] { return checkpoint_->tokenizer(); }},
                               options_.calibration, options_.seed, watched);
  }

  // As the quantized model will.
  Matrix<float> embed_quantized(const std::vector<std::vector<int32_t>>& windows,
                                const WorkFolder& work) {
    const FinishedStage finished = *work.matrix(kEmbedding);
    const Matrix<float> E = dequantize(decode_tensor(finished.tensors.front(), pool_, kEmbedding));
    Matrix<float> X(report_.calibration_tokens, E.cols());
    int64_t next = 0;
    for (const auto& window : windows)
      for (const int32_t id : window) std::ranges::copy(E.row(id), X.row(next++).begin());
    return basis_.to_stream(std::move(X));
  }

  void quantize_block(int64_t block, Streams* streams, const WorkFolder& work) {
    watch_.stage("statistics");
    BlockWeights weights = load_block(pool_, basis_.config(), basis_.weights(), block);
    if (zero_rows_.contains(block)) take_out(zero_rows_.at(block), weights);
    if (streams != nullptr) streams->begin_block(weights);
    BlockGradients gradients;
    bool measured = false;
    const double before = report_bits_;
    int64_t block_weights = 0;
    for (const Capture stage : kStages) {
      check_stop();
      std::vector<LayerPlan> layers;
      for (const LayerPlan& layer : plan_[static_cast<size_t>(block)])
        if (layer.site.input == stage) layers.push_back(layer);
      FinishedStage finished;
      if (auto saved = work.stage(block, stage)) {
        finished = std::move(*saved);
        if (streams != nullptr) streams->pass(stage);
      } else {
        if ((metrics_minded() || *options_.model.token_weighting) && !measured) {
          watch_.stage("gradients");
          gradients = gradients_->of_block(block);
          if (!metrics_minded()) gradients.metrics = {};
          measured = true;
        }
        finished =
            StageQuantizer(pool_, options_, budget_, weights, gradients, streams, watch_, progress_)
                .run(stage, layers);
        work.save_stage(block, stage, finished);
      }
      install(layers, finished, weights, streams);
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
    tell("quantizing", "blocks", block + 1, config_.blocks,
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

  static void set_stored(LayerReport& layer, uint64_t bytes) {
    layer.bits.file = 8 * static_cast<double>(bytes) / static_cast<double>(layer.rows * layer.cols);
    layer.bits.side = layer.bits.file - layer.bits.coded;
  }

  void write_file(const WorkFolder& work) {
    ContainerWriter writer(output_);
    size_t next = 0;
    for (size_t block = 0; block < plan_.size(); ++block) {
      for (const Capture stage : kStages) {
        const FinishedStage finished = *work.stage(static_cast<int64_t>(block), stage);
        for (size_t i = 0; i < finished.layers.size(); ++i) {
          LayerReport& layer = report_.layers[next++];
          if (layer.kept) continue;
          const uint64_t stored =
              writer.add_quantized(layer.name, layer.rows, layer.cols, finished.tensors[i]);
          set_stored(layer, stored);
        }
      }
    }
    for (LayerReport& matrix : report_.embeddings) {
      const uint64_t stored = writer.add_quantized(matrix.name, matrix.rows, matrix.cols,
                                                   work.matrix(matrix.name)->tensors.front());
      set_stored(matrix, stored);
    }
    report_.basis_bits =
        8 * static_cast<double>(add_axes(writer)) / static_cast<double>(report_.quantized_weights);
    write_texts(writer);
    report_.kept_bytes = write_kept(writer);
    const ContainerWriter::Summary summary =
        writer.finish(fmt::format("watersic {}", kVersion), options_json(options_));
    report_.model_id = summary.model_id;
    report_.file_bytes = static_cast<int64_t>(summary.file_bytes);
  }

  // All return what they take of the file.
  uint64_t add_axes(ContainerWriter& writer) const {
    if (basis_.axes().empty()) return 0;
    return writer.add_quantized(kBasisName, config_.hidden, config_.hidden, basis_.axes());
  }
  uint64_t axes_bytes() const {
    if (basis_.axes().empty()) return 0;
    ContainerWriter trial(output_.string() + ".size");
    return add_axes(trial);
  }
  int64_t write_texts(ContainerWriter& writer) {
    uint64_t bytes = 0;
    for (const char* name : kCarriedTexts) {
      if (const auto text = checkpoint_->text(name)) bytes += writer.add_text(name, *text);
    }
    return static_cast<int64_t>(bytes);
  }
  // The tensors that are not quantized.
  int64_t write_kept(ContainerWriter& writer) {
    uint64_t bytes = 0;
    std::set<std::string> quantized;
    for (const auto& block : plan_)
      for (const LayerPlan& layer : block)
        if (!layer.keep) quantized.insert(layer.site.name);
    for (const EmbeddingPlan& plan : embeddings_) quantized.insert(plan.name);
    for (const ModelTensor& tensor : model_tensors(config_)) {
      if (quantized.contains(tensor.name)) continue;
      const bool half = checkpoint_->dtype(tensor.name) == "F16";
      std::vector<int64_t> shape{tensor.shape.rows, tensor.shape.cols};
      if (tensor.is_vector) shape = {tensor.shape.cols};
      bytes += writer.add_raw(tensor.name, half ? SectionKind::kF16 : SectionKind::kBf16, shape,
                              in_16_bits(basis_.stored(), tensor.name, half));
    }
    return static_cast<int64_t>(bytes);
  }

  void finish_totals() {
    BitCount& total = report_.bits;
    for (const LayerReport& layer : report_.layers) {
      const double share = static_cast<double>(layer.rows * layer.cols) /
                           static_cast<double>(report_.quantized_weights);
      total.file += share * layer.bits.file;
      total.coded += share * layer.bits.coded;
      total.side += share * layer.bits.side;
      total.pooled_entropy += share * layer.bits.pooled_entropy;
      total.paper_rate += share * layer.bits.paper_rate;
    }
    total.file += report_.basis_bits;
    total.side += report_.basis_bits;
    total.paper_rate += report_.basis_bits;
  }

  void tell(const char* stage, const char* unit, int64_t done, int64_t total,
            const std::string& detail) const {
    if (progress_)
      progress_({.stage = stage, .unit = unit, .done = done, .total = total, .detail = detail});
  }

  std::filesystem::path output_;
  QuantizeOptions options_;
  const ProgressFn& progress_;
  const StopFn& stop_;
  ThreadPool pool_;
  std::unique_ptr<Checkpoint> checkpoint_;
  const ModelConfig& config_;  // of the checkpoint, and of the file
  ModelBasis basis_;
  std::vector<std::vector<LayerPlan>> plan_;
  std::vector<EmbeddingPlan> embeddings_;
  ZeroRows zero_rows_;
  RateBudget budget_;
  Json identity_;
  QuantizeReport report_;
  Stopwatch watch_;
  std::unique_ptr<OutputGradients> gradients_;  // with a metric of the outputs
  double report_bits_ = 0;                      // spent so far
};

}  // namespace

QuantizeReport quantize_model(const std::filesystem::path& model_dir,
                              const std::filesystem::path& output, const QuantizeOptions& options,
                              const ProgressFn& progress, const StopFn& stop) {
  return ModelQuantizer(model_dir, output, options, progress, stop).run();
}

}  // namespace watersic
