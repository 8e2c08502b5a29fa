// The pass over a model, block by block: run the block on the calibration windows, gather the
// second moments at its four capture points, quantize its seven layers, write them.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>

#include "base/threads.h"
#include "calibration/moments.h"
#include "container/common_texts.h"
#include "container/write_container.h"
#include "encode/encode_layer.h"
#include "io/json.h"
#include "linalg/blas.h"
#include "model/block.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/forward.h"
#include "pipeline/calibrate.h"
#include "pipeline/kept_tensor.h"
#include "pipeline/stopwatch.h"
#include "quant/layer.h"
#include "quant/limit.h"
#include "tokenizer/tokenizer.h"
#include "watersic/error.h"
#include "watersic/file.h"
#include "watersic/quantize.h"
#include "watersic/version.h"

namespace watersic {
namespace {

Matrix<double> identity(int64_t n) {
  Matrix<double> I(n, n);
  for (int64_t i = 0; i < n; ++i) I(i, i) = 1;
  return I;
}

// What the container takes for a coded tensor: padding, and an entry of about this many bytes in
// its table. What it really took is counted when it is written.
size_t stored_size(size_t coded) {
  constexpr size_t kEntry = 40;
  return (coded + kAlignment - 1) / kAlignment * kAlignment + kEntry;
}

// The second moments of a capture point, and what is computed from them once for all its layers.
struct Site {
  Matrix<double> S;
  std::vector<double> eigenvalues;  // only if limits are reported
};

class ModelQuantizer {
 public:
  ModelQuantizer(const std::filesystem::path& model_dir, const std::filesystem::path& output,
                 const QuantizeOptions& options, const ProgressFn& progress)
      : model_dir_(model_dir),
        options_(options),
        progress_(progress),
        pool_(options.threads),
        config_(load_config(model_dir)),
        source_(model_dir),
        writer_(output) {
    check_tensors(config_, source_);
    report_.model = model_dir.string();
    report_.output = output.string();
    report_.version = kVersion;
    report_.options = options;
  }

  QuantizeReport run() {
    const auto start = std::chrono::steady_clock::now();
    check_budget();
    // A file whose tokenizer can't be read could not be evaluated.
    if (std::filesystem::exists(model_dir_ / "tokenizer.json")) Tokenizer::load(model_dir_);
    watch_.stage("calibration text");
    const auto windows = calibration_windows(pool_, config_, source_, model_dir_,
                                             options_.calibration, options_.seed, progress_);
    report_.calibration_windows = static_cast<int64_t>(windows.size());
    length_ = windows.empty() ? 0 : static_cast<int64_t>(windows.front().size());
    report_.calibration_tokens = report_.calibration_windows * length_;
    rope_.emplace(config_, length_);

    watch_.stage("statistics");
    X_ = embed_windows(windows);
    for (int64_t block = 0; block < config_.blocks; ++block) quantize_block(block);
    watch_.stage("writing");
    write_the_rest();
    const ContainerWriter::Summary summary = writer_.finish(
        fmt::format("watersic {}", kVersion), Json::parse(to_json(report_)).at("options"));
    watch_.stop();

    report_.model_id = summary.model_id;
    report_.file_bytes = static_cast<int64_t>(summary.file_bytes);
    report_.stages = watch_.stages();
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    finish_totals();
    return std::move(report_);
  }

 private:
  bool calibrated() const { return length_ > 0; }

  // Before any work: can every layer have the bits that are asked for? And count the weights.
  void check_budget() {
    check_options(options_);
    const bool grid = options_.method == Method::kGptq || options_.method == Method::kRtn;
    std::map<std::pair<int64_t, int64_t>, double> minimum;  // by shape
    for (int64_t block = 0; block < config_.blocks; ++block) {
      for (const LinearSite& site : linear_sites(config_, block)) {
        report_.quantized_weights += site.rows * site.cols;
        const std::pair shape{site.rows, site.cols};
        if (grid || minimum.contains(shape)) continue;
        minimum[shape] = minimum_bits(pool_, site.rows, site.cols, options_, stored_size);
        if (options_.bits < minimum[shape]) {
          throw Error(fmt::format(
              "bits: {:.3f} a weight can't be met: {} ({} x {}) needs {:.3f} for its side "
              "information alone",
              options_.bits, site.name, site.rows, site.cols, minimum[shape]));
        }
      }
    }
    bits_left_ = options_.bits * static_cast<double>(report_.quantized_weights);
    weights_left_ = report_.quantized_weights;
  }

  Matrix<float> embed_windows(const std::vector<std::vector<int32_t>>& windows) const {
    std::vector<int32_t> ids;
    for (const auto& window : windows) ids.insert(ids.end(), window.begin(), window.end());
    return embed(config_, source_, ids);
  }

  void quantize_block(int64_t block) {
    watch_.stage("statistics");
    const BlockWeights weights = load_block(pool_, config_, source_, block);
    BlockMoments moments;
    if (calibrated()) {
      const int64_t batch = std::max<int64_t>(1, kBatchTokens / length_) * length_;
      for (int64_t row = 0; row < X_.rows(); row += batch) {
        const MatrixView<float> some =
            X_.view().block(row, 0, std::min(batch, X_.rows() - row), X_.cols());
        forward_block(pool_, config_, *rope_, weights, length_, some,
                      [&](Capture capture, MatrixView<const float> inputs) {
                        moments[static_cast<size_t>(capture)].add(pool_, inputs);
                      });
        tell("statistics", "blocks", block, config_.blocks, "");
      }
    }
    const double before = bits_left_;
    int64_t block_weights = 0;
    const auto sites = linear_sites(config_, block);
    Site site;
    for (size_t i = 0; i < sites.size(); ++i) {
      const LinearSite& layer = sites[i];
      if (i == 0 || layer.input != sites[i - 1].input) {
        site = {};  // the old one's memory first
        SecondMoment& moment = moments[static_cast<size_t>(layer.input)];
        watch_.stage("statistics");
        site.S = calibrated() ? moment.take() : identity(layer.cols);
        if (options_.limits && layer.cols <= QuantizeOptions::kLimitColumns) {
          watch_.stage("limits");
          site.eigenvalues = symmetric_eigenvalues(site.S);
        }
      }
      quantize_layer(layer, weights.linear[static_cast<size_t>(layer.linear)].weight, site);
      block_weights += layer.rows * layer.cols;
    }
    tell("quantizing", "blocks", block + 1, config_.blocks,
         fmt::format("block {}: {:.4f} bits a weight", block,
                     (before - bits_left_) / static_cast<double>(block_weights)));
  }

  void quantize_layer(const LinearSite& site, MatrixView<const float> W, const Site& statistics) {
    watch_.stage("quantizing");
    const auto start = std::chrono::steady_clock::now();
    const double weights = static_cast<double>(W.size());
    QuantizerOptions options = options_;
    const bool grid = options.method == Method::kGptq || options.method == Method::kRtn;
    // What earlier layers missed their target by is made good by those to come.
    if (!grid)
      options.bits = std::clamp(bits_left_ / static_cast<double>(weights_left_), 0.05, 16.0);
    EncodedLayer encoded;
    try {
      encoded = encode_layer(pool_, {W, statistics.S}, options, stored_size);
    } catch (const Error& e) {
      throw Error(fmt::format("{}: {}", site.name, e.what()));
    }

    LayerReport layer{
        .name = site.name, .rows = site.rows, .cols = site.cols, .target_bits = options.bits};
    layer.bits = encoded.bits;
    const uint64_t stored = writer_.add_quantized(site.name, site.rows, site.cols, encoded.bytes);
    layer.bits.file = 8 * static_cast<double>(stored) / weights;
    layer.bits.side = layer.bits.file - layer.bits.coded;
    layer.distortion = encoded.distortion;
    layer.dead = static_cast<int64_t>(encoded.tensor.dead.size());
    layer.damping = encoded.damping;
    layer.step = encoded.step;
    layer.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    // By the count that is asked for: the papers' or the file's.
    bits_left_ -=
        weights * (options.rate == RateTarget::kPaper ? layer.bits.paper_rate : layer.bits.file);
    weights_left_ -= static_cast<int64_t>(weights);

    double variance = 0;
    for (int64_t k = 0; k < W.rows(); ++k)
      for (const float w : W.row(k)) variance += static_cast<double>(w) * w / weights;
    const Matrix<float> nothing(site.rows, site.cols);
    layer.relative_distortion =
        layer.distortion / std::max(1e-300, distortion(pool_, {W, statistics.S}, nothing));
    if (!statistics.eigenvalues.empty()) {
      layer.has_limit = true;
      layer.limit_bits =
          rate_at_distortion(statistics.eigenvalues, variance, layer.distortion).bits;
      layer.gap = layer.bits.coded - layer.limit_bits;
    }
    report_.layers.push_back(std::move(layer));
  }

  void write_the_rest() {
    for (const char* name : kCarriedTexts) {
      if (std::filesystem::exists(model_dir_ / name))
        writer_.add_text(name, read_text(model_dir_ / name));
    }
    std::set<std::string> quantized;
    for (const LayerReport& layer : report_.layers) quantized.insert(layer.name);
    for (const ModelTensor& tensor : model_tensors(config_)) {
      if (quantized.contains(tensor.name)) continue;
      const bool half = source_.dtype(tensor.name) == "F16";
      std::vector<int64_t> shape{tensor.shape.rows, tensor.shape.cols};
      if (tensor.is_vector) shape = {tensor.shape.cols};
      report_.kept_bytes += static_cast<int64_t>(
          writer_.add_raw(tensor.name, half ? SectionKind::kF16 : SectionKind::kBf16, shape,
                          in_16_bits(source_, tensor.name, half)));
    }
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
  }

  void tell(const char* stage, const char* unit, int64_t done, int64_t total,
            const std::string& detail) const {
    if (progress_)
      progress_({.stage = stage, .unit = unit, .done = done, .total = total, .detail = detail});
  }

  std::filesystem::path model_dir_;
  QuantizeOptions options_;
  const ProgressFn& progress_;
  ThreadPool pool_;
  ModelConfig config_;
  CheckpointSource source_;
  ContainerWriter writer_;
  QuantizeReport report_;
  Stopwatch watch_;
  int64_t length_ = 0;  // tokens in a window; 0 without calibration
  std::optional<RopeTable> rope_;
  Matrix<float> X_;  // the stream of all windows, as the blocks so far leave it
  double bits_left_ = 0;
  int64_t weights_left_ = 0;
};

}  // namespace

QuantizeReport quantize_model(const std::filesystem::path& model_dir,
                              const std::filesystem::path& output, const QuantizeOptions& options,
                              const ProgressFn& progress) {
  return ModelQuantizer(model_dir, output, options, progress).run();
}

}  // namespace watersic
