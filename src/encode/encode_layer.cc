#include "encode/encode_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "base/half.h"
#include "base/rng.h"
#include "coding/dec_tensor.h"
#include "coding/enc_estimate.h"
#include "coding/enc_model.h"
#include "coding/enc_tensor.h"
#include "encode/encode_runnable.h"
#include "encode/step_search.h"
#include "encode/stored_scales.h"
#include "quant/distortion.h"
#include "quant/layer.h"
#include "watersic/error.h"

namespace watersic {
namespace {

constexpr double kProbeTolerance = 0.005;  // of the rate on the probed rows
constexpr int kProbes = 7;
constexpr int64_t kSmall = 1 << 14;  // weights; the size of fewer jumps with the step
constexpr int kPasses = 4;           // over the whole layer, until its size is right ...
constexpr int kRounds = 8;           // ... with the scales as they turned out

// The rescalers will add row scales. Until their values are known, numbers of the same kind stand
// in for them, since their size counts: a few percent around 1.
Scales row_scales_to_come(int64_t rows, const QuantizerOptions& options, int64_t cols) {
  if (!has_column_steps(options.method) || !options.rescalers) return {};
  Rng rng(options.seed);
  std::vector<double> values(static_cast<size_t>(rows));
  for (double& v : values) v = std::exp(0.05 * rng.normal());
  return to_scales(values, bits_to_drop(options.bits, cols));
}

// Nothing but zeros, with all the scales that the method has.
QuantizedTensor zero_tensor(int64_t rows, const LiveSet& columns, const QuantizerOptions& options) {
  const auto live = static_cast<int64_t>(columns.live.size());
  QuantizedTensor tensor{.rows = rows, .cols = live + static_cast<int64_t>(columns.dead.size())};
  tensor.dead = columns.dead;
  tensor.codes = Matrix<int32_t>(rows, live);
  tensor.row_scale = row_scales_to_come(rows, options, tensor.cols);
  tensor.column_scale.half.assign(has_column_steps(options.method) ? static_cast<size_t>(live) : 1,
                                  half_from_float(1.0F));
  return tensor;
}

// What the coded tensor costs; the tensor itself and distortion are left open.
EncodedLayer measured(const QuantizedTensor& tensor, std::vector<std::byte> bytes,
                      const StoredSize& stored_size) {
  EncodedLayer out;
  out.bytes = std::move(bytes);
  const double a = static_cast<double>(tensor.rows), live = static_cast<double>(tensor.live());
  const double dead = static_cast<double>(tensor.dead.size()), weights = a * (live + dead);
  out.bits = stored_bits(out.bytes, weights, stored_size);
  out.bits.pooled_entropy = pooled_entropy(tensor.codes, tensor.trellis > 0) * a * live / weights;
  out.bits.paper_rate = out.bits.pooled_entropy + (16 * a + 16 * live + 16 * dead) / weights;
  return out;
}

// Of a file that holds nothing but zeros.
BitCount bits_of_zeros(ThreadPool& pool, int64_t rows, const LiveSet& columns,
                       const QuantizerOptions& options, const StoredSize& stored_size) {
  const QuantizedTensor zeros = zero_tensor(rows, columns, options);
  return measured(zeros, encode_tensor(zeros, {.coder = options.coder}, pool), stored_size).bits;
}

double counted(const BitCount& bits, const QuantizerOptions& options) {
  return options.rate == RateTarget::kPaper ? bits.paper_rate : bits.file;
}

class LayerEncoder {
 public:
  LayerEncoder(ThreadPool& pool, const LayerProblem& problem, const QuantizerOptions& options,
               const StoredSize& stored_size, double tolerance = kRateTolerance)
      : pool_(pool),
        problem_(problem),
        options_(options),
        stored_size_(stored_size),
        tolerance_(tolerance),
        weights_(static_cast<double>(problem.W.size())),
        quantizer_(pool, problem, options) {}

  Draft draft(const Draft* like) {
    Draft out;
    double step = 1;
    if (quantizer_.has_step() && quantizer_.live() > 0) {
      const double formula = quantizer_.initial_step(options_.bits);
      if (like != nullptr) {
        step = like->step_ratio * formula;
        quantizer_.prepare(step);
      } else {
        step = probe(integer_bits());
      }
      out.step_ratio = step / formula;
    }
    QuantizedLayer layer =
        is_runnable()
            ? quantizer_.quantize(plan_runnable(quantizer_, problem_, options_, stored_size_))
            : quantizer_.quantize(step);
    quantizer_.rescale(layer);
    out.V = dequantize(to_tensor(layer, options_));
    return out;
  }

  EncodedLayer run() {
    const bool has_rate = quantizer_.has_step() && quantizer_.live() > 0;
    EncodedLayer best = is_runnable()
                            ? encode_runnable(pool_, quantizer_, problem_, options_, stored_size_)
                        : has_rate ? search()
                                   : fixed();
    // Once more from its bytes: the integers of a large layer are too much to keep while others are
    // tried.
    best.tensor = decode_tensor(best.bytes, pool_, "the layer");
    if (has_rate && !is_of_use(best)) best = another(std::move(best));
    const RowDequantizer values(best.tensor);
    const Distortions made = distortions(
        pool_, problem_, [&](int64_t first, int64_t rows) { return values.rows(first, rows); });
    best.distortion = made.plain;
    best.weighted_distortion = made.weighted;
    best.damping = quantizer_.damping();
    return best;
  }

 private:
  bool is_runnable() const { return options_.layout == Layout::kRunnable && quantizer_.live() > 0; }
  double count(const BitCount& bits) const { return counted(bits, options_); }

  // A grid, or nothing to quantize: there is no rate to search.
  EncodedLayer fixed() {
    QuantizedLayer layer = quantizer_.quantize(1.0);
    quantizer_.rescale(layer);
    LastCoding coding;
    return encode(layer, 0, false, coding);
  }

  // First some rows, cheaply, by the estimate of what coding will take, unless they are most of the
  // layer; then the whole layer is coded and the step corrected by its real size.
  EncodedLayer search() {
    const double target = integer_bits();
    double step = probes_pay() ? probe(target) : quantizer_.initial_step(target);

    // The scales' size is known only when they are: what it was wrong by counts in the next round.
    EncodedLayer best;
    double best_error = std::numeric_limits<double>::infinity(), correction = 0;
    LastCoding coding;
    for (int round = 0; round < kRounds && best_error > tolerance_; ++round) {
      StepSearch passes(options_.bits - correction, step);
      QuantizedLayer layer;
      double draft = 0, tried = 0;
      for (int i = 0; i < kPasses && passes.best_error() > tolerance_; ++i) {
        const double before = passes.best_error();
        tried = passes.next();
        layer = {};  // one at a time
        quantizer_.prepare(tried);
        layer = quantizer_.quantize(tried);
        coding.same = false;
        const double bits = count(encode(layer, tried, true, coding).bits);
        passes.measured(tried, bits);
        if (passes.best_error() < before) draft = bits;
      }
      step = passes.best_step();
      if (tried != step) {  // the last was not the best
        layer = {};
        coding.same = false;
        quantizer_.prepare(step);
        layer = quantizer_.quantize(step);
      }
      quantizer_.rescale(layer);
      EncodedLayer encoded = encode(layer, step, false, coding);
      const double bits = count(encoded.bits), error = std::fabs(bits - options_.bits);
      correction = bits - draft;
      if (error < best_error) {
        best_error = error;
        best = std::move(encoded);
      }
    }
    return best;
  }

  // Whether it holds more than zeros, and nothing out of all proportion.
  bool is_of_use(const EncodedLayer& layer) const {
    if (layer.bits.pooled_entropy == 0) return false;
    const RowDequantizer values(layer.tensor);
    const int64_t rows = problem_.W.rows(), cols = problem_.W.cols();
    // Squares of what each row is made to be and was given.
    std::vector<std::pair<double, double>> squares(static_cast<size_t>(rows));
    pool_.parallel_for(rows, [&](int64_t k) {
      std::vector<float> row(static_cast<size_t>(cols));
      values.row(k, row);
      auto& [made, given] = squares[static_cast<size_t>(k)];
      for (const float v : row) made += static_cast<double>(v) * v;
      for (const float w : problem_.W.row(k)) given += static_cast<double>(w) * w;
    });
    double made = 0, given = 0;
    for (const auto& [m, g] : squares) {
      made += m;
      given += g;
    }
    return made < 16 * given;
  }

  // Bits do not always fall as the step grows. Of a small layer whose scales take most of the rate,
  // the size jumps where integers cease to be all zeros, and may jump over the rate: fewer bits
  // have coarser scales, and room. And a trellis codes a constant worse than rounding does.
  EncodedLayer another(EncodedLayer useless) {
    for (const bool trellis : {true, false}) {
      for (const double share : {1.0, 0.9, 0.8, 0.7, 0.6, 0.5}) {
        if (trellis && share == 1) continue;
        QuantizerOptions other = options_;
        other.bits *= share;
        if (!trellis) other.trellis = 0;
        LayerEncoder encoder(pool_, problem_, other, stored_size_);
        if (other.bits < encoder.minimum()) break;
        EncodedLayer found = encoder.search();
        found.tensor = decode_tensor(found.bytes, pool_, "the layer");
        if (is_of_use(found) && count(found.bits) <= options_.bits + kRateTolerance) return found;
      }
    }
    return useless;
  }

  // What is left for the integers, in bits a live weight, once the side information is paid.
  double integer_bits() const {
    const double live_weights = static_cast<double>(quantizer_.live() * problem_.W.rows());
    const double least = minimum();
    if (options_.bits < least) {
      throw Error(
          fmt::format("bits: {:.3f} a weight can't be met: side information alone costs {:.3f}",
                      options_.bits, least));
    }
    return (options_.bits - least) * weights_ / live_weights;
  }

  double minimum() const {
    return count(
        bits_of_zeros(pool_, problem_.W.rows(), quantizer_.columns(), options_, stored_size_));
  }

  // The step at which the integers of some rows take `target` bits a live weight.
  double probe(double target) {
    StepSearch search(target, quantizer_.initial_step(target));
    const std::vector<int64_t> rows = probe_rows();
    for (int i = 0; i < kProbes && search.best_error() > kProbeTolerance; ++i) {
      const double step = search.next();
      quantizer_.prepare(step);
      search.measured(step, probed_bits(quantizer_.quantize(step, rows)));
    }
    return search.best_step();
  }

  double probed_bits(const QuantizedLayer& some) const {
    const bool trellis = some.trellis > 0;
    if (options_.coder == Coder::kPooled || options_.rate == RateTarget::kPaper)
      return pooled_entropy(some.Z, trellis);
    return class_entropy(some.Z, trellis, pool_, problem_.W.rows());
  }

  // A tenth of the rows, but enough for an entropy to be known to a hundredth of a bit.
  int64_t probed_rows() const { return std::max<int64_t>(problem_.W.rows() / 10, 256); }
  bool probes_pay() const {
    return 4 * probed_rows() <= problem_.W.rows() || problem_.W.size() < kSmall;
  }
  std::vector<int64_t> probe_rows() const {
    const int64_t a = problem_.W.rows(), wanted = probed_rows();
    if (wanted >= a) return {};
    Rng rng(options_.seed);
    return rng.choose(a, wanted);
  }

  // How the integers of a layer were coded last.
  struct LastCoding {
    std::optional<CodingModel> model;
    CodedTiles tiles;    // by it
    double step = 0;     // when its classes were fitted
    bool same = false;   // the integers at hand are those
    bool whole = false;  // and the classes were fitted to them
  };

  // `draft`: a thousandth of the bits is no matter.
  EncodedLayer encode(QuantizedLayer& layer, double step, bool draft, LastCoding& last) const {
    Matrix<int32_t> Z = std::exchange(layer.Z, {});  // lent, not copied
    QuantizedTensor tensor = to_tensor(layer, options_);
    tensor.codes = std::move(Z);
    if (tensor.row_scale.half.empty())
      tensor.row_scale = row_scales_to_come(layer.rows, options_, layer.cols);
    if (!tensor.codes.empty()) fit(tensor, step, draft, last);
    EncodedLayer out = measured(
        tensor,
        last.model ? encode_tensor(tensor, last.tiles, *last.model) : encode_tensor(tensor, pool_),
        stored_size_);
    layer.Z = std::move(tensor.codes);
    out.step = step;
    out.gamma = layer.gamma;
    return out;
  }

  void fit(const QuantizedTensor& tensor, double step, bool draft, LastCoding& last) const {
    constexpr double kNear = 0.04;  // of log2(step): a third of what spreads are told to
    if (last.same && (last.whole || draft)) {
      refit_columns(tensor, *last.model);
      return;
    }
    const bool near = draft && last.model && tensor.codes.size() >= kSmall &&
                      std::fabs(std::log2(step / last.step)) < kNear;
    last.model = fit_model(tensor, options_.coder, pool_, near ? &*last.model : nullptr);
    last.tiles = encode_tiles(tensor, {.model = &*last.model}, pool_);
    if (!near) last.step = step;
    last.same = true;
    last.whole = !near;
  }

  ThreadPool& pool_;
  LayerProblem problem_;
  QuantizerOptions options_;
  StoredSize stored_size_;
  double tolerance_;
  double weights_;
  LayerQuantizer quantizer_;
};

}  // namespace

BitCount stored_bits(std::span<const std::byte> bytes, double weights,
                     const StoredSize& stored_size) {
  const size_t stored = stored_size ? stored_size(bytes.size()) : bytes.size();
  BitCount out{.file = 8 * static_cast<double>(stored) / weights,
               .coded = tensor_bits(bytes, "the layer").coded / weights};
  out.side = out.file - out.coded;
  return out;
}

QuantizedTensor to_tensor(const QuantizedLayer& layer, const QuantizerOptions& options) {
  QuantizedTensor tensor;
  tensor.rows = layer.rows;
  tensor.cols = layer.cols;
  tensor.dead = layer.columns.dead;
  tensor.codes = layer.Z;
  tensor.trellis = layer.trellis;
  tensor.segment_rows = layer.segment_rows;
  tensor.rotation = layer.rotation;
  tensor.strands = layer.strands;
  tensor.bitshift = layer.bitshift;
  tensor.payload = layer.payload;
  if (!layer.column_group.empty()) {
    tensor.group_scale = to_scales(layer.group_scale.values(), 0);
    tensor.groups = layer.group_scale.cols();
    tensor.column_group = layer.column_group;
    return tensor;
  }
  std::vector<double> columns = layer.alpha;
  for (size_t i = 0; i < layer.gamma.size(); ++i) columns[i] *= layer.gamma[i];
  // The scales of a grid, and a step for all, stand as they were used.
  const bool refined = has_column_steps(options.method);
  tensor.column_scale = to_scales(columns, refined ? bits_to_drop(options.bits, layer.rows) : 0);
  tensor.row_scale = to_scales(layer.t, refined ? bits_to_drop(options.bits, layer.cols) : 0);
  return tensor;
}

double minimum_bits(ThreadPool& pool, int64_t rows, int64_t cols, const QuantizerOptions& options,
                    const StoredSize& stored_size) {
  LiveSet all;
  all.live.resize(static_cast<size_t>(cols));
  if (options.layout == Layout::kRunnable) {
    const auto bytes = encode_tensor(runnable_zeros(rows, all, options), pool);
    return stored_bits(bytes, static_cast<double>(rows * cols), stored_size).file;
  }
  return counted(bits_of_zeros(pool, rows, all, options, stored_size), options);
}

EncodedLayer encode_layer(ThreadPool& pool, const LayerProblem& problem,
                          const QuantizerOptions& options, const StoredSize& stored_size,
                          double tolerance) {
  check_options(options);
  return LayerEncoder(pool, problem, options, stored_size, tolerance).run();
}

Draft draft_layer(ThreadPool& pool, const LayerProblem& problem, const QuantizerOptions& options,
                  const Draft* like) {
  check_options(options);
  return LayerEncoder(pool, problem, options, {}).draft(like);
}

}  // namespace watersic
