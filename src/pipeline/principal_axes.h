// The basis in which a model's own statistics are as unequal as can be (docs/algorithm.md, "The
// principal basis").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/context.h"
#include "model/rotated_source.h"

namespace watersic {

// Eigenvectors by falling variance. Of the stream: of the sum over the layers that read it of
// |W D|^2 Sx / tr Sx, Sx = D^{-1} S D^{-1} the second moment of x / rms(x), D the gain of the norm
// before them. Of a key-value head: of the sum over the query heads that it serves of |W_h|^2 S_h,
// S_h the second moment of what o reads of the head and W_h what reads it. One forward pass of
// kAxesTokens at most (more would hardly turn the axes), which may be stopped before every batch.
constexpr int64_t kAxesTokens = 16384;
struct PrincipalAxes {
  Rotation rotation;
  std::vector<double> variances;  // of the stream's axes, up to a factor
};
PrincipalAxes principal_axes(const Context& context, const ModelConfig& config,
                             const WeightSource& source,
                             std::span<const std::vector<int32_t>> windows);

}  // namespace watersic
