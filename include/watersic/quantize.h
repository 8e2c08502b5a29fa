// A whole model: a checkpoint folder in, one .wsic file out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "watersic/layer.h"
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

struct QuantizeOptions : QuantizerOptions {
  CalibrationOptions calibration;
  bool limits = true;  // report R(D) and the gap of layers with at most kLimitColumns columns
  static constexpr int64_t kLimitColumns = 4096;  // eigenvalues of more take longer than the layer
};

struct LayerReport {
  std::string name;
  int64_t rows = 0, cols = 0;
  double target_bits = 0;
  BitCount bits;
  double distortion = 0;
  double relative_distortion = 0;  // distortion / (tr(W S W^T) / (a n))
  bool has_limit = false;
  double limit_bits = 0, gap = 0;
  int64_t dead = 0;
  double damping = 0, step = 0, seconds = 0;
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
  std::vector<StageReport> stages;
  BitCount bits;  // over all quantized tensors, by weights
  int64_t quantized_weights = 0;
  int64_t file_bytes = 0;  // the whole file
  int64_t kept_bytes = 0;  // of it, the tensors kept in 16 bits
  double seconds = 0;
};

// Throws Error; nothing stands under `output` then.
QuantizeReport quantize_model(const std::filesystem::path& model_dir,
                              const std::filesystem::path& output, const QuantizeOptions& options,
                              const ProgressFn& progress = {});

std::string to_json(const QuantizeReport& report);

}  // namespace watersic
