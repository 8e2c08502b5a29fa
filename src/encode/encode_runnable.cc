#include "encode/encode_runnable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "coding/dec_tensor.h"
#include "coding/enc_bitshift.h"
#include "coding/enc_tensor.h"
#include "quant/bitshift_plan.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// Of Gaussian weights so many are exceptions, and take so many bits each. Of others there may be
// more: then all is done once more.
constexpr double kExceptions = 1e-4, kExceptionBits = 26;
constexpr double kTolerance = 0.01;  // bits a weight
constexpr int kRounds = 3;           // over the size of what is not the payload
constexpr int kTries = 5;            // to have it in the size that is asked for

// The tensor that a plan leads to, but for what is found on the way.
QuantizedTensor planned_tensor(const LayerQuantizer& quantizer, const BitshiftPlan& plan,
                               const QuantizerOptions& options, int64_t rows) {
  QuantizedLayer layer{.rows = rows, .columns = quantizer.columns()};
  layer.cols = quantizer.live() + static_cast<int64_t>(layer.columns.dead.size());
  quantizer.set_scales(plan, layer);
  QuantizedTensor tensor = to_tensor(layer, options);
  tensor.bitshift = quantizer.planned(plan);
  return tensor;
}

}  // namespace

QuantizedTensor runnable_zeros(int64_t rows, const LiveSet& columns,
                               const QuantizerOptions& options) {
  const auto live = columns.live.size();
  QuantizedTensor tensor{
      .rows = rows, .cols = static_cast<int64_t>(live + columns.dead.size()), .dead = columns.dead};
  const std::vector<int32_t> levels(live), offsets(static_cast<size_t>(bitshift_tiles(rows)));
  tensor.bitshift = {.memory = settled(options).state_bits,
                     .layout = BitshiftLayout(rows, kBitshiftRows, levels, offsets),
                     .exceptions = {},
                     .levels = levels,
                     .offsets = offsets};
  tensor.payload.resize(static_cast<size_t>(tensor.bitshift.layout.payload_bytes()));
  return tensor;
}

BitshiftPlan plan_runnable(LayerQuantizer& quantizer, const LayerProblem& problem,
                           const QuantizerOptions& options, const StoredSize& stored_size,
                           int64_t exceptions) {
  const int64_t rows = problem.W.rows();
  const auto weights = static_cast<double>(problem.W.size());
  const auto bytes = static_cast<int64_t>(options.bits * weights / 8);
  const auto stored = [&](int64_t coded) {
    return stored_size ? static_cast<int64_t>(stored_size(static_cast<size_t>(coded))) : coded;
  };
  if (exceptions < 0) exceptions = static_cast<int64_t>(kExceptions * weights * kExceptionBits / 8);
  const auto payload_for = [&](int64_t head) {
    const int64_t payload = bytes - (stored(bytes) - bytes) - head - exceptions;
    if (payload < kBitshiftPadding) {
      throw Error(fmt::format(
          "bits: {:.3f} a weight can't be met: side information alone costs {:.3f}", options.bits,
          8 * static_cast<double>(bytes - payload + kBitshiftPadding) / weights));
    }
    return payload;
  };
  BitshiftPlan plan = quantizer.plan(payload_for(rows + quantizer.live()));
  for (int round = 0; round < kRounds; ++round)
    allocate(plan, rows,
             payload_for(bitshift_head_bytes(planned_tensor(quantizer, plan, options, rows))));
  return plan;
}

EncodedLayer encode_runnable(ThreadPool& pool, LayerQuantizer& quantizer,
                             const LayerProblem& problem, const QuantizerOptions& options,
                             const StoredSize& stored_size) {
  EncodedLayer out;
  int64_t exceptions = -1;
  for (int round = 0; round < kTries; ++round) {
    const BitshiftPlan plan = plan_runnable(quantizer, problem, options, stored_size, exceptions);
    QuantizedLayer layer = quantizer.quantize(plan);
    quantizer.rescale(layer);
    layer.Z = {};  // the payload says them
    const QuantizedTensor tensor = to_tensor(layer, options);
    out.bytes = encode_tensor(tensor, pool);
    out.bits = stored_bits(out.bytes, static_cast<double>(problem.W.size()), stored_size);
    // Integers are never coded as such here: what they would take is what they do.
    out.bits.pooled_entropy = out.bits.coded;
    out.bits.paper_rate = out.bits.file;
    out.step = std::sqrt(12 * plan.water);
    out.gamma = layer.gamma;
    if (out.bits.file < options.bits + kTolerance) break;
    // With fewer bits there are others: no fewer are expected than were found once.
    exceptions = std::max(
        exceptions, bitshift_head_bytes(tensor) -
                        bitshift_head_bytes(planned_tensor(quantizer, plan, options, layer.rows)));
  }
  return out;
}

}  // namespace watersic
