// One layer to bytes in the runnable layout: rates are planned, not searched.
#pragma once

#include "base/threads.h"
#include "encode/encode_layer.h"
#include "quant/layer.h"

namespace watersic {

// Rates for options.bits, as stored; throws Error where the side information alone costs more.
// exceptions: what they take, in bytes; negative: as of Gaussian weights.
BitshiftPlan plan_runnable(LayerQuantizer& quantizer, const LayerProblem& problem,
                           const QuantizerOptions& options, const StoredSize& stored_size,
                           int64_t exceptions = -1);

// Bytes and bits of a layer; tensor and distortion are left open.
EncodedLayer encode_runnable(ThreadPool& pool, LayerQuantizer& quantizer,
                             const LayerProblem& problem, const QuantizerOptions& options,
                             const StoredSize& stored_size);

// What a layer of zeros takes.
QuantizedTensor runnable_zeros(int64_t rows, const LiveSet& columns,
                               const QuantizerOptions& options);

}  // namespace watersic
