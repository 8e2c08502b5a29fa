#include "encode/encode_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_estimate.h"
#include "coding/enc_tensor.h"
#include "encode/step_search.h"
#include "quant/layer.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr double kProbeTolerance = 0.005;  // of the rate on the probed rows
constexpr int kProbes = 6;
constexpr double kTolerance = 0.003;  // of the rate of the whole layer
constexpr int kPasses = 4;

Scales to_scales(std::span<const double> values) {
  Scales scales;
  double largest = 0;
  for (const double v : values) largest = std::max(largest, std::fabs(v));
  scales.exponent = largest > 0 ? half_exponent(largest) : 0;
  for (const double v : values)
    scales.half.push_back(half_from_float(static_cast<float>(std::ldexp(v, -scales.exponent))));
  return scales;
}

// The rescalers will add row scales: their values are not known yet, their size is.
Scales row_scales_to_come(int64_t rows, const QuantizerOptions& options) {
  Scales scales;
  if (options.method == Method::kWatersic && options.rescalers) {
    scales.half.assign(static_cast<size_t>(rows), half_from_float(1.0F));
  }
  return scales;
}

// Nothing but zeros, with all the scales that the method has.
QuantizedTensor zero_tensor(int64_t rows, const LiveSet& columns, const QuantizerOptions& options) {
  const auto live = static_cast<int64_t>(columns.live.size());
  QuantizedTensor tensor{.rows = rows, .cols = live + static_cast<int64_t>(columns.dead.size())};
  tensor.dead = columns.dead;
  tensor.codes = Matrix<int32_t>(rows, live);
  tensor.row_scale = row_scales_to_come(rows, options);
  tensor.column_scale.half.assign(
      options.method == Method::kWatersic ? static_cast<size_t>(live) : 1, half_from_float(1.0F));
  return tensor;
}

// The tensor coded, and what that costs; distortion is left open.
EncodedLayer measured(QuantizedTensor tensor, ThreadPool& pool, const StoredSize& stored_size) {
  EncodedLayer out;
  out.bytes = encode_tensor(tensor, pool);
  const double a = static_cast<double>(tensor.rows), live = static_cast<double>(tensor.live());
  const double dead = static_cast<double>(tensor.dead.size()), weights = a * (live + dead);
  const size_t stored = stored_size ? stored_size(out.bytes.size()) : out.bytes.size();
  out.bits.file = 8 * static_cast<double>(stored) / weights;
  out.bits.coded = tensor_bits(out.bytes, "the layer").coded / weights;
  out.bits.side = out.bits.file - out.bits.coded;
  out.bits.pooled_entropy = pooled_entropy(tensor.codes) * a * live / weights;
  out.bits.paper_rate = out.bits.pooled_entropy + (16 * a + 16 * live + 16 * dead) / weights;
  out.tensor = std::move(tensor);
  return out;
}

double counted(const BitCount& bits, const QuantizerOptions& options) {
  return options.rate == RateTarget::kPaper ? bits.paper_rate : bits.file;
}

class LayerEncoder {
 public:
  LayerEncoder(ThreadPool& pool, const LayerProblem& problem, const QuantizerOptions& options,
               const StoredSize& stored_size)
      : pool_(pool),
        problem_(problem),
        options_(options),
        stored_size_(stored_size),
        weights_(static_cast<double>(problem.W.size())),
        quantizer_(pool, problem, options) {}

  EncodedLayer run() {
    EncodedLayer best = quantizer_.has_step() ? search() : encode(0);
    // Rescaling changes no integer, and the size by a byte at most: once, for the step that won.
    quantizer_.rescale(best_layer_);
    best = encode(best_layer_, best.step);
    best.distortion = distortion(pool_, problem_, dequantize(best.tensor));
    best.damping = quantizer_.damping();
    return best;
  }

 private:
  double count(const BitCount& bits) const { return counted(bits, options_); }

  // Bits of pooled entropy a live weight, less what is known to come on top, hit the target: first
  // on some rows, cheaply; then the whole layer is coded, and the step corrected by the real size.
  EncodedLayer search() {
    const double live_weights = static_cast<double>(quantizer_.live() * problem_.W.rows());
    if (live_weights == 0) return encode(1.0);
    const double minimum =
        count(measured(zero_tensor(problem_.W.rows(), quantizer_.columns(), options_), pool_,
                       stored_size_)
                  .bits);
    if (options_.bits < minimum) {
      throw Error(
          fmt::format("bits: {:.3f} a weight can't be met: side information alone costs {:.3f}",
                      options_.bits, minimum));
    }
    const double target = (options_.bits - minimum) * weights_ / live_weights;

    StepSearch probes(target, quantizer_.initial_step(target));
    const std::vector<int64_t> rows = probe_rows();
    for (int i = 0; i < kProbes && probes.best_error() > kProbeTolerance; ++i) {
      const double step = probes.next();
      const QuantizedLayer probe = quantizer_.quantize(step, rows);
      probes.measured(step, pooled_entropy(probe.Z));
    }

    StepSearch passes(options_.bits, probes.best_step());
    EncodedLayer best;
    for (int i = 0; i < kPasses && passes.best_error() > kTolerance; ++i) {
      const double step = passes.next(), before = passes.best_error();
      QuantizedLayer layer = quantizer_.quantize(step);
      EncodedLayer encoded = encode(layer, step);
      passes.measured(step, count(encoded.bits));
      if (passes.best_error() < before) {
        best = std::move(encoded);
        best_layer_ = std::move(layer);
      }
    }
    return best;
  }

  // A tenth of the rows, but enough for an entropy to be known to a hundredth of a bit.
  std::vector<int64_t> probe_rows() const {
    const int64_t a = problem_.W.rows(), wanted = std::max<int64_t>(a / 10, 256);
    if (wanted >= a) return {};
    Rng rng(options_.seed);
    return rng.choose(a, wanted);
  }

  EncodedLayer encode(double step) {
    best_layer_ = quantizer_.quantize(step);
    return encode(best_layer_, step);
  }

  EncodedLayer encode(const QuantizedLayer& layer, double step) const {
    QuantizedTensor tensor = to_tensor(layer);
    if (tensor.row_scale.half.empty()) tensor.row_scale = row_scales_to_come(layer.rows, options_);
    EncodedLayer out = measured(std::move(tensor), pool_, stored_size_);
    out.step = step;
    return out;
  }

  ThreadPool& pool_;
  LayerProblem problem_;
  QuantizerOptions options_;
  const StoredSize& stored_size_;
  double weights_;
  LayerQuantizer quantizer_;
  QuantizedLayer best_layer_;
};

}  // namespace

QuantizedTensor to_tensor(const QuantizedLayer& layer) {
  QuantizedTensor tensor;
  tensor.rows = layer.rows;
  tensor.cols = layer.cols;
  tensor.dead = layer.columns.dead;
  tensor.codes = layer.Z;
  if (!layer.column_group.empty()) {
    tensor.group_scale = to_scales(layer.group_scale.values());
    tensor.groups = layer.group_scale.cols();
    tensor.column_group = layer.column_group;
    return tensor;
  }
  std::vector<double> columns = layer.alpha;
  for (size_t i = 0; i < layer.gamma.size(); ++i) columns[i] *= layer.gamma[i];
  tensor.column_scale = to_scales(columns);
  tensor.row_scale = to_scales(layer.t);
  return tensor;
}

double minimum_bits(ThreadPool& pool, int64_t rows, int64_t cols, const QuantizerOptions& options,
                    const StoredSize& stored_size) {
  LiveSet all;
  all.live.resize(static_cast<size_t>(cols));
  return counted(measured(zero_tensor(rows, all, options), pool, stored_size).bits, options);
}

EncodedLayer encode_layer(ThreadPool& pool, const LayerProblem& problem,
                          const QuantizerOptions& options, const StoredSize& stored_size) {
  check_options(options);
  return LayerEncoder(pool, problem, options, stored_size).run();
}

}  // namespace watersic
