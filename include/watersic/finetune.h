// Fine-tuning: the scales of a .wsic file trained so that the model's predictions come nearer to
// the original's. The integers stay as they are, and so does the file's size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "watersic/progress.h"
#include "watersic/quantize.h"

namespace watersic {

struct FinetuneOptions {
  std::filesystem::path reference;  // the original model: a checkpoint folder
  // `samples` windows to train on; text, or sampled from the reference (kNone has no meaning).
  CalibrationOptions calibration;
  int64_t held_out = 16;  // further windows, on which the best epoch is chosen
  int64_t epochs = 10;
  int64_t batch = 8;  // windows in a step
  // Of Adam, from the first step to the last along half a cosine; the scales are trained as factors
  // around 1, which half the first rate times the steps moves by at most. Left open, that is
  // 0.08, and the rate within 1e-4 and 1e-2; and the final one a hundredth of the first.
  std::optional<double> learning_rate, final_learning_rate;
  uint64_t seed = 1;
  int threads = 0;
};

struct FinetuneReport {
  struct Epoch {
    double learning_rate = 0;  // at its last step
    double kl_bits = 0;        // mean over the training tokens, each batch before its step
    double held_out_kl_bits = 0;
    double gradient_norm = 0;  // mean over the steps, before clipping
    double seconds = 0;
  };
  std::string input, output, input_id, output_id, reference, reference_id, version;
  FinetuneOptions options;  // with the learning rates as used
  int64_t windows = 0, held_out_windows = 0, window_tokens = 0;
  int64_t parameters = 0, steps = 0;
  // Mean KL(original || quantized) over all tokens of the held-out windows, bits a token.
  double kl_bits_before = 0, kl_bits_after = 0;
  int64_t best_epoch = 0;     // from 1; 0: none was better, and the scales are the input's
  std::vector<Epoch> epochs;  // all that were run
  int64_t input_bytes = 0, output_bytes = 0;  // of the whole files
  double input_bits = 0, output_bits = 0;     // a weight, in the trained tensors
  int64_t peak_bytes = 0;                     // of the process
  double seconds = 0;
};

// Trains the scales of the linear layers of `input`, a .wsic file, and writes the whole model to
// `output`: never worse on the held-out windows than it came. Throws Error; nothing stands under
// `output` then.
FinetuneReport finetune(const std::filesystem::path& input, const std::filesystem::path& output,
                        const FinetuneOptions& options, const ProgressFn& progress = {});

std::string to_json(const FinetuneReport& report);

}  // namespace watersic
