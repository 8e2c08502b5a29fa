// The gradients of a block's operators: d marks the derivative of a loss with respect to a value.
// Each is checked against finite differences of its definition in float64.
#pragma once

#include <cstdint>
#include <span>

#include "base/threads.h"
#include "model/block.h"
#include "model/config.h"
#include "model/rope.h"
#include "watersic/matrix.h"

namespace watersic {

// y = x / rms(x) * weight: dy becomes dx. Sums in float64.
void rms_norm_backward(std::span<const float> x, std::span<const float> weight, double epsilon,
                       std::span<float> dy);
// Over all rows of X; dY likewise.
void rms_norm_backward(ThreadPool& pool, MatrixView<const float> X, std::span<const float> weight,
                       double epsilon, MatrixView<float> dY);

// g = silu(gate) * up: gate becomes dgate, up becomes dup.
void gate_backward(std::span<float> gate, std::span<float> up, std::span<const float> dg);

// place_heads(raw): dY becomes the gradient with respect to `raw`, which is needed only where there
// is a norm.
void place_heads_backward(ThreadPool& pool, const ModelConfig& config, const RopeTable& rope,
                          std::span<const float> norm, std::span<const int64_t> positions,
                          MatrixView<const float> raw, MatrixView<float> dY);

// H = attend(heads): the gradients dQ, dK, dV, given dH. The probabilities are computed again, by
// tiles of queries.
Heads attend_backward(ThreadPool& pool, const ModelConfig& config, int64_t length,
                      const Heads& heads, MatrixView<const float> dH,
                      const Operators& operators = Operators::reference());

}  // namespace watersic
