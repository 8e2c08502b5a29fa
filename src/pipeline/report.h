// A layer's report as JSON and back: RUN.json holds it, and so does the folder of a run at work.
#pragma once

#include <vector>

#include "coding/common_tensor.h"
#include "io/json.h"
#include "watersic/quantize.h"

namespace watersic {

Json bits_json(const BitCount& bits);
Json layer_json(const LayerReport& layer);
// Error, naming the field, where one is missing or of another type.
LayerReport layer_from_json(const Json& json, const std::string& name);

// Likewise.
Json sensitivities_json(const std::vector<LayerSensitivity>& layers);
std::vector<LayerSensitivity> sensitivities_from_json(const Json& json, const std::string& name);

// 33 quantiles, 0, 1/32, ..., 1: of what is there, without interpolation. Empty for nothing.
std::vector<double> quantiles(std::vector<double> values);

// column_bits, column_factors and row_scales of a coded tensor; `step`: c, 0 without one.
void describe_tensor(const QuantizedTensor& tensor, LayerReport& layer);

}  // namespace watersic
