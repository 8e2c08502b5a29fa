// What shall happen to each linear layer, before any work: its options, or that it is kept.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/block.h"
#include "model/config.h"
#include "quant/option_table.h"
#include "watersic/quantize.h"

namespace watersic {

// Of a block, in the order in which they are quantized.
constexpr Capture kStages[] = {Capture::kQkv, Capture::kO, Capture::kGateUp, Capture::kDown};

struct LayerPlan {
  LinearSite site;
  QuantizerOptions options;  // bits: meaningful if `fixed`
  bool keep = false;         // in 16 bits
  bool fixed = false;        // has a rate of its own: a grid's width, an override's bits
  double offset = 0;         // bits on top of the rate that all others share; not if fixed
  double sensitivity = 0;    // where it was measured

  int64_t weights() const { return site.rows * site.cols; }
};

// By blocks, in the order of linear_sites. Throws Error for an option that has no meaning or a
// pattern that matches no layer.
std::vector<std::vector<LayerPlan>> plan_layers(const ModelConfig& config,
                                                const QuantizeOptions& options);

// Rows of gate and up to take out, by block. Throws Error for what can't be read or is not there.
using ZeroRows = std::map<int64_t, std::vector<int64_t>>;
ZeroRows parse_zero_rows(const std::string& text, const ModelConfig& config);
void take_out(const std::vector<int64_t>& rows, BlockWeights& block);

}  // namespace watersic
