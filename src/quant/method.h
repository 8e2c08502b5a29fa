// What sets the methods apart.
#pragma once

#include "watersic/options.h"

namespace watersic {

// The values of the options that may be left open.
struct SettledOptions {
  double damping = 0, dead_threshold = 0, shrinkage = 0;
  int trellis = 0;
  bool lmmse = false;
  int state_bits = 14;  // of the runnable layout
};

struct MethodTraits {
  bool grid;          // 2^bits levels; else integers of any size, entropy-coded, at any rate
  bool statistics;    // looks at S: each column mends the errors of those before it
  bool column_steps;  // a step for each column; scales of rows and columns are refit
  // Makes use of what a model says of its layers: moments of both models, gradients, bases. And its
  // embeddings are quantized, too.
  bool knows_model;
  SettledOptions defaults;
};
const MethodTraits& traits_of(Method method);

inline bool is_grid(Method method) { return traits_of(method).grid; }
inline bool uses_statistics(Method method) { return traits_of(method).statistics; }
inline bool has_column_steps(Method method) { return traits_of(method).column_steps; }
inline bool knows_model(Method method) { return traits_of(method).knows_model; }
inline bool is_gptq(Method method) { return uses_statistics(method) && !has_column_steps(method); }

// A grid's width is a whole number.
bool can_have_bits(Method method, double bits);

// What was left open by the method's defaults.
SettledOptions settled(const QuantizerOptions& options);

}  // namespace watersic
