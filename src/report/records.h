// What the report takes from the files of quantizations and evaluations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "io/json.h"

namespace watersic::report {

// Values at evenly spaced fractions, from the least to the greatest; empty where there are none.
using Quantiles = std::vector<double>;

struct Bits {
  double file = 0, coded = 0, side = 0;
  std::optional<double> pooled_entropy, paper_rate;
};

// What the search over the mixing coefficients of a stage tried, and what it chose.
struct Mixing {
  struct Point {
    double e_q = 0, e_a = 0, error = 0;
  };
  double e_q = 0, e_a = 0;
  std::vector<Point> points;
};

struct Layer {
  std::string name, kind;        // kind: "q_proj"; the whole name where the layer is in no block
  std::optional<int64_t> block;  // the first number in the name
  int64_t rows = 0, cols = 0;
  Bits bits;
  std::optional<int64_t> dead;
  std::optional<double> target_bits, limit_bits, gap, distortion, relative_distortion, damping,
      step, seconds, sensitivity, capture_error;
  Quantiles column_bits, row_scales, column_factors;
  std::optional<Mixing> mixing;
};

struct Stage {
  std::string name;
  double seconds = 0;
  std::optional<int64_t> peak_bytes;
};

// A feature of down_proj's input that is far larger than the others.
struct Outlier {
  int64_t block = 0, row = 0;
  double ratio = 0;  // of its second moment to the median
};

struct Run {
  std::string file;  // that it was read from
  std::string model, output, model_id, version, method;
  // Everything the run was made with, flattened: {"calibration.samples", "128"}.
  std::vector<std::pair<std::string, std::string>> options;
  double target_bits = 0;  // of a fixed grid: its width
  Bits bits;
  int64_t quantized_weights = 0, file_bytes = 0, kept_bytes = 0;
  int64_t embedding_weights = 0;  // of an embedding and a head that were quantized as well
  double seconds = 0;
  std::vector<Layer> layers;  // quantized
  std::vector<Layer> kept;    // in 16 bits: name, shape, bits and input error only
  std::vector<Outlier> outliers;
  std::vector<Stage> stages;
};

struct Estimate {
  double value = 0;
  std::optional<double> error;  // standard error
};
using Named = std::vector<std::pair<std::string, Estimate>>;

// A subject of a benchmark.
struct Group {
  std::string name;
  std::optional<int64_t> questions;
  Named accuracy;
};

struct Evaluation {
  std::string file;
  std::string model, model_id, reference, reference_id;
  std::string convention, text_hash;
  int64_t context = 0;
  std::optional<int64_t> windows, tokens;
  std::optional<double> perplexity, bits_per_byte, nll, reference_perplexity, kl_bits, top1,
      seconds;
  std::string kl_unit;  // of kl_statistics
  Named kl_statistics;  // flattened: "kl_percentiles.p99"

  // Of a benchmark instead of a text.
  std::string task;
  std::optional<int64_t> questions, shots;
  Named accuracy, reference_accuracy, agreement;  // by metric: "acc", "acc_norm"
  std::vector<Group> groups;
};

using Record = std::variant<Run, Evaluation>;

// `name` is what errors call the file. Throws Error, naming file and field, where it is neither a
// run nor an evaluation, or a field that is shown is missing or of another type.
Record read_record(const Json& json, const std::string& name);

}  // namespace watersic::report
