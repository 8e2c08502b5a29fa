// One matrix of a model quantized and coded, and what came of it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/threads.h"
#include "encode/encode_layer.h"
#include "quant/problem.h"
#include "watersic/options.h"
#include "watersic/quantize.h"

namespace watersic {

struct QuantizedMatrix {
  LayerReport report;  // without what the place in the model adds: capture error, mixing, limit
  std::vector<std::byte> bytes;
};

// encode_layer for the container. Throws Error, naming the matrix.
QuantizedMatrix quantize_matrix(ThreadPool& pool, const std::string& name,
                                const LayerProblem& problem, const QuantizerOptions& options,
                                double tolerance = kRateTolerance);

// What the container takes for a coded tensor: padding, and its entry in the table, about. What it
// really took is counted when it is written.
size_t stored_size(size_t coded);

}  // namespace watersic
