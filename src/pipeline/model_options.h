// The options of a model, beyond those of its layers: the tables, and what is decided where they
// are left open.
#pragma once

#include <vector>

#include "base/option_table.h"
#include "io/json.h"
#include "watersic/quantize.h"

namespace watersic {

using ModelOption = Option<ModelOptions, Allocation, Basis>;
const std::vector<ModelOption>& model_option_table();
using QuantizeOption = Option<QuantizeOptions>;
const std::vector<QuantizeOption>& quantize_option_table();

Json options_json(const QuantizeOptions& options);
Json calibration_json(const CalibrationOptions& options);

// The options with what was left open decided, and what asks for the impossible refused. The basis
// stays as it is.
ModelOptions resolved_model_options(const QuantizeOptions& options);
// Whether gradients of the blocks' layers are wanted. With none of the options open.
bool takes_gradients(const ModelOptions& options);

}  // namespace watersic
