// A whole model: a checkpoint (a folder or a GGUF file) in, one .wsic file out.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "watersic/error.h"
#include "watersic/layer.h"
#include "watersic/names.h"
#include "watersic/options.h"
#include "watersic/progress.h"

namespace watersic {

// Where the second moments of the layers' inputs come from.
struct CalibrationOptions {
  enum class Source {
    kSelf,  // text that the model samples from itself
    kText,  // `file`
    kNone,  // no text: S = I for every layer
  };
  Source source = Source::kSelf;
  std::filesystem::path file;  // UTF-8 text
  int64_t samples = 128;       // windows
  int64_t sequence_length =
      0;  // tokens in each; 0: 2048, or the model's context if that is shorter
};

template <>
inline constexpr std::array names_of<CalibrationOptions::Source>{"self", "text", "none"};

// How the bits are shared among the layers (docs/algorithm.md, "Bits where the model feels them").
enum class Allocation {
  kUniform,      // the same rate for all
  kSensitivity,  // by what each layer's error does to the model's output, measured layer by layer
  kGradient,     // by the same, as the gradients of the original model foretell it
};
template <>
inline constexpr std::array names_of<Allocation>{"uniform", "sensitivity", "gradient"};

// The coordinates in which the layers are quantized (docs/algorithm.md, "The principal basis").
enum class Basis {
  kNative,     // the model's own
  kHeads,      // the values of each attention head turned to the axes of their statistics
  kPrincipal,  // and the residual stream to those of its own
};
template <>
inline constexpr std::array names_of<Basis>{"native", "heads", "principal"};

// "self", "none", or the path of a text.
void set_calibration(CalibrationOptions& options, const std::string& value);

// What makes a model's layers more than so many single ones (docs/algorithm.md, "Inside a model").
// Left open: on where the method can make use of it. gptq and huffman-gptq can of drift only, as
// the moments of what the quantized model's layers see; the rtn methods and a run without
// calibration of nothing.
struct ModelOptions {
  std::optional<bool> drift;     // statistics of the model quantized so far
  std::optional<bool> residual;  // o and down mend the residual stream; needs drift
  std::optional<bool> mixing;    // q, k, v: mixing coefficients found by trying; left open: off
  // Rounding that minds what errors of the outputs do to the model's, by the gradients of the
  // original; watersic only.
  std::optional<bool> output_metric;
  // Tokens count by the gradients, too. Left open: with a metric of the outputs.
  std::optional<bool> token_weighting;
  // q, k, v: tokens count as they are attended to. Left open: where they don't count by gradients.
  std::optional<bool> attention_weighting;
  // Left open: by gradients for method watersic with a metric of the outputs. Needs calibration and
  // an entropy coder.
  std::optional<Allocation> allocation;
  // Left open: for method watersic with calibration principal (or heads where what a principal
  // basis takes of the file is more than 1/12 bit a weight), where the model's statistics foretell
  // that it pays; else native. Needs calibration. What was chosen stands in the report.
  std::optional<Basis> basis;
  bool mix_gate_up = false;  // gate, up: likewise, judged at the input of down
  int mixing_steps = 5;      // of each golden section (the papers: 15)
};

struct QuantizeOptions : QuantizerOptions {
  CalibrationOptions calibration;
  ModelOptions model;
  // "REGEX:name=value,...": options of the layers whose names match, the last match winning. A
  // layer with `bits` of its own takes no part in the sharing of the rest.
  std::vector<std::string> overrides;
  std::vector<std::string> keep;  // regular expressions: layers kept in 16 bits
  // "BLOCK.gate_proj:ROW,ROW;...": rows of gate and up taken out of the model, and the columns of
  // down that read them. gate_proj and up_proj mean the same.
  std::string zero_rows;
  // Bits a weight of embedding and head, by method watersic, beside `bits`; if tied, either one.
  // 16: kept. Left open: for method watersic from `bits` to 3 more, as gradients find it worth
  // where they share the bits, else 3 more, if that is at most 10, else 16.
  std::optional<double> embedding_bits, head_bits;
  int64_t file_size = 0;  // bytes of the whole file; instead of `bits`, if not 0
  // Bytes of memory that each process may take; 0: as many as it needs. Where the calibration's
  // streams have no room they go into a temporary file beside the output. The result is the same.
  int64_t memory = 0;
  bool resume = false;  // continue what stands in OUT.wsic.work
  // Where the calibration windows are kept for other runs on the same model and calibration: taken
  // from there if they are there, else put there. Empty: they are made anew.
  std::filesystem::path windows_file;
  bool limits = true;  // report R(D) and the gap of layers with at most kLimitColumns columns
  static constexpr int64_t kLimitColumns = 4096;  // eigenvalues of more take longer than the layer
};

// As for QuantizerOptions: the options of the model, and those that QuantizeOptions adds.
std::vector<OptionInfo> describe_options(const ModelOptions& options);
std::vector<OptionInfo> describe_options(const QuantizeOptions& options);
void set_option(ModelOptions& options, const std::string& name, const std::string& value);
void set_option(QuantizeOptions& options, const std::string& name, const std::string& value);

// Bytes of "3G", "800M", "1.5GiB": K, M, G are powers of 1024, with or without iB; a plain number
// is bytes. Throws Error.
int64_t parse_size(const std::string& text);

struct MixingPoint {
  double e_q = 0, e_a = 0, error = 0;  // relative error at the next stage's input
};
struct MixingReport {
  double e_q = 0, e_a = 0;
  std::vector<MixingPoint> points;  // as tried; none where nothing was searched
};

// What the model's KL is (bits a token, of the original to the model with this one layer quantized)
// and the rate that the layer is given for it.
struct LayerSensitivity {
  std::string name;
  int64_t weights = 0;
  // Measured: at two rates. By gradients: as foretold at the share.
  std::vector<double> bits, kl_bits;
  double slope = 2;  // of -log2 KL over bits; 2 where KL follows the distortion
  double share = 0;  // bits a weight

  // The KL at 0 bits, as the slope has it: what layers are told apart by.
  double sensitivity() const { return kl_bits.at(0) * std::exp2(slope * bits.at(0)); }
};

// A feature of down's input whose second moment is far above the others': a candidate for
// zero_rows.
struct OutlierReport {
  int64_t block = 0, row = 0;
  double ratio = 0;  // to the median
};

struct LayerReport {
  std::string name;
  int64_t rows = 0, cols = 0;
  double target_bits = 0;
  BitCount bits;
  double distortion = 0;
  double weighted_distortion = 0;  // under the metric of the outputs; 0 without
  double relative_distortion = 0;  // distortion / (tr(W S W^T) / (a n))
  bool has_limit = false;
  double limit_bits = 0, gap = 0;
  int64_t dead = 0;
  double sensitivity = 0;  // LayerSensitivity::sensitivity; 0 where it was not measured
  double damping = 0;      // as used; damping_asked was not enough where they differ
  double damping_asked = 0;
  double step = 0, seconds = 0;
  bool kept = false;         // in 16 bits: nothing below `bits` has a meaning
  double capture_error = 0;  // sum |x' - x|^2 / sum |x|^2 at the layer's input
  MixingReport mixing;
  // Quantiles 0, 1/32, ..., 1 over columns of the entropy of their integers and of their scale over
  // the step's, and over rows of their scale. Empty where there are none.
  std::vector<double> column_bits, column_factors, row_scales;
};

struct StageReport {
  std::string stage;
  double seconds = 0;
  int64_t peak_bytes = 0;  // of the process, as the stage ended
};

struct QuantizeReport {
  std::string model, output, model_id, version;
  QuantizeOptions options;
  int64_t calibration_windows = 0, calibration_tokens = 0;
  std::vector<LayerReport> layers;
  std::vector<LayerReport> embeddings;  // the embedding, the head: those that were quantized
  std::vector<StageReport> stages;
  std::vector<OutlierReport> outliers;
  std::vector<LayerSensitivity> sensitivities;  // empty where they were not measured
  double target_bits = 0;                       // as asked for, or as the file's size leaves
  BitCount bits;                                // over all linear layers, by weights
  double basis_bits = 0;                        // of those, what the basis takes; a weight
  int64_t quantized_weights = 0;
  int64_t file_bytes = 0;  // the whole file
  int64_t kept_bytes = 0;  // of it, the tensors kept in 16 bits
  double seconds = 0;
};

// What quantize_model would do, without doing it.
struct QuantizePlan {
  struct Layer {
    std::string name;
    int64_t rows = 0, cols = 0;
    double bits = 0;  // aimed at
    bool kept = false;
  };
  std::vector<Layer> layers;
  std::vector<Layer> embeddings;  // those that are quantized; left open, with the most bits
  int64_t quantized_weights = 0;  // of layers
  int64_t calibration_tokens = 0, sequence_length = 0;  // at most; 0 without calibration
  double bits = 0;                                      // a weight, over all layers
  int64_t file_bytes = 0, peak_bytes = 0;               // about
  double seconds = 0;  // about, from rates measured on the spot; without the sampling of text
};
// Throws Error as quantize_model does for options and checkpoints that can't be used.
QuantizePlan plan_quantization(const std::filesystem::path& model_dir,
                               const QuantizeOptions& options);

// Asked between steps; true stops the run.
using StopFn = std::function<bool()>;

// Thrown by a run that was stopped: what is finished stands in OUT.wsic.work, to be resumed.
class Interrupted : public Error {
 public:
  using Error::Error;
};

// Finished stages are saved in the folder OUT.wsic.work, which goes when the file is written; a
// resumed run gives the same bytes. Throws Error; nothing stands under `output` then. Ranks
// (watersic/ranks.h) call it alike; what the file takes stands in the report of rank 0.
QuantizeReport quantize_model(const std::filesystem::path& model_dir,
                              const std::filesystem::path& output, const QuantizeOptions& options,
                              const ProgressFn& progress = {}, const StopFn& stop = {});

std::string to_json(const QuantizeReport& report);

}  // namespace watersic
