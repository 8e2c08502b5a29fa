// One layer to bytes at a rate: the search over the step against the size that the coder really
// gives. The door that a single matrix and a whole model share.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/threads.h"
#include "coding/common_tensor.h"
#include "quant/problem.h"
#include "watersic/layer.h"
#include "watersic/options.h"

namespace watersic {

struct EncodedLayer {
  QuantizedTensor tensor;
  std::vector<std::byte> bytes;    // encode_tensor(tensor)
  BitCount bits;                   // file: of stored_size(bytes), side included
  double distortion = 0;           // of the tensor as it decodes
  double weighted_distortion = 0;  // likewise; with a metric of the outputs
  double damping = 0;
  double step = 0;
  std::vector<double>
      gamma;  // of each live column's scale, what came on top of the step's; or empty
};

// A layer quantized without coding, and how: what the next draft of the same layer needs.
struct Draft {
  Matrix<float> V;
  double step_ratio = 1;  // to what the high-rate formula gives
};

// What a coded tensor of so many bytes occupies where it is put; identity by default.
using StoredSize = std::function<size_t(size_t coded_bytes)>;

// Quantizes and codes so that options.bits are spent, within `tolerance` bits a weight where the
// layer's size allows. Throws Error where the side information alone costs more, naming the
// minimum.
constexpr double kRateTolerance = 0.002;
EncodedLayer encode_layer(ThreadPool& pool, const LayerProblem& problem,
                          const QuantizerOptions& options, const StoredSize& stored_size = {},
                          double tolerance = kRateTolerance);

// V at about that rate, by the estimate of what coding will take: for trying things out, at a
// fraction of encode_layer's time. `like`: a draft of the same weights and rate under other
// statistics; then nothing is searched, the step follows the formula as it did there.
Draft draft_layer(ThreadPool& pool, const LayerProblem& problem, const QuantizerOptions& options,
                  const Draft* like = nullptr);

// What a layer costs at least, in the bits that options.bits counts: side information and integers
// that are all zero.
double minimum_bits(ThreadPool& pool, int64_t rows, int64_t cols, const QuantizerOptions& options,
                    const StoredSize& stored_size = {});

// Scales rounded to the precision that is worth its bits, integers as they are.
QuantizedTensor to_tensor(const QuantizedLayer& layer, const QuantizerOptions& options);

// What a coded layer of so many weights takes; no entropies.
BitCount stored_bits(std::span<const std::byte> bytes, double weights,
                     const StoredSize& stored_size);

}  // namespace watersic
