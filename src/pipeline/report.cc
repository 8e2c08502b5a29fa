#include "pipeline/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "coding/enc_estimate.h"
#include "pipeline/model_options.h"
#include "watersic/error.h"

namespace watersic {
namespace {

std::vector<double> numbers(const JsonFields& fields, const char* name) {
  std::vector<double> out;
  for (const Json& value : fields.array(name)) {
    if (!value.is_number())
      throw Error(fmt::format("{}: {}: expected numbers, found {}", fields.name(), name,
                              value.type_name()));
    out.push_back(value.get<double>());
  }
  return out;
}

Json mixing_json(const MixingReport& mixing) {
  Json points = Json::array();
  for (const MixingPoint& p : mixing.points)
    points.push_back({{"e_q", p.e_q}, {"e_a", p.e_a}, {"error", p.error}});
  return {{"e_q", mixing.e_q}, {"e_a", mixing.e_a}, {"points", points}};
}

BitCount bits_from_json(const JsonFields& bits) {
  return {.file = bits.number("file"),
          .coded = bits.number("coded"),
          .side = bits.number("side"),
          .pooled_entropy = bits.number("pooled_entropy"),
          .paper_rate = bits.number("paper_rate")};
}

}  // namespace

Json bits_json(const BitCount& bits) {
  return {{"file", bits.file},
          {"coded", bits.coded},
          {"side", bits.side},
          {"pooled_entropy", bits.pooled_entropy},
          {"paper_rate", bits.paper_rate}};
}

Json layer_json(const LayerReport& layer) {
  Json json = {{"name", layer.name},
               {"rows", layer.rows},
               {"cols", layer.cols},
               {"kept", layer.kept},
               {"target_bits", layer.target_bits},
               {"bits", bits_json(layer.bits)},
               {"capture_error", layer.capture_error},
               {"seconds", layer.seconds}};
  if (layer.kept) return json;
  json["distortion"] = layer.distortion;
  if (layer.sensitivity > 0) json["sensitivity"] = layer.sensitivity;
  if (layer.weighted_distortion > 0) json["weighted_distortion"] = layer.weighted_distortion;
  json["relative_distortion"] = layer.relative_distortion;
  json["dead"] = layer.dead;
  json["damping"] = layer.damping;
  json["damping_asked"] = layer.damping_asked;
  json["step"] = layer.step;
  if (layer.has_limit) {
    json["limit_bits"] = layer.limit_bits;
    json["gap"] = layer.gap;
  }
  if (!layer.mixing.points.empty()) json["mixing"] = mixing_json(layer.mixing);
  json["column_bits"] = layer.column_bits;
  json["column_factors"] = layer.column_factors;
  json["row_scales"] = layer.row_scales;
  return json;
}

LayerReport layer_from_json(const Json& json, const std::string& name) {
  const JsonFields fields(json, name);
  LayerReport layer{.name = fields.text("name"),
                    .rows = fields.integer("rows"),
                    .cols = fields.integer("cols"),
                    .target_bits = fields.number("target_bits"),
                    .bits = bits_from_json(fields.object("bits"))};
  layer.kept = fields.boolean("kept", false);
  layer.capture_error = fields.number("capture_error");
  layer.seconds = fields.number("seconds");
  if (layer.kept) return layer;
  layer.distortion = fields.number("distortion");
  if (fields.has("sensitivity")) layer.sensitivity = fields.number("sensitivity");
  if (fields.has("weighted_distortion"))
    layer.weighted_distortion = fields.number("weighted_distortion");
  layer.relative_distortion = fields.number("relative_distortion");
  layer.dead = fields.integer("dead");
  layer.damping = fields.number("damping");
  layer.damping_asked = fields.number("damping_asked");
  layer.step = fields.number("step");
  layer.has_limit = fields.has("limit_bits");
  if (layer.has_limit) {
    layer.limit_bits = fields.number("limit_bits");
    layer.gap = fields.number("gap");
  }
  if (fields.has("mixing")) {
    const JsonFields mixing = fields.object("mixing");
    layer.mixing = {.e_q = mixing.number("e_q"), .e_a = mixing.number("e_a"), .points = {}};
    for (const Json& entry : mixing.array("points")) {
      const JsonFields point(entry, mixing.name() + ": points");
      layer.mixing.points.push_back(
          {.e_q = point.number("e_q"), .e_a = point.number("e_a"), .error = point.number("error")});
    }
  }
  layer.column_bits = numbers(fields, "column_bits");
  layer.column_factors = numbers(fields, "column_factors");
  layer.row_scales = numbers(fields, "row_scales");
  return layer;
}

std::vector<double> quantiles(std::vector<double> values) {
  if (values.empty()) return {};
  constexpr size_t kParts = 32;
  std::sort(values.begin(), values.end());
  std::vector<double> out;
  for (size_t i = 0; i <= kParts; ++i) out.push_back(values[(values.size() - 1) * i / kParts]);
  return out;
}

void describe_tensor(const QuantizedTensor& tensor, LayerReport& layer) {
  std::vector<double> bits;
  Matrix<int32_t> column(tensor.rows, 1);
  for (const int32_t level : tensor.bitshift.levels)
    bits.push_back(std::max(level, 0) / static_cast<double>(kBitshiftQuarters));
  for (int64_t i = 0; i < tensor.live() && tensor.bitshift.empty(); ++i) {
    for (int64_t k = 0; k < tensor.rows; ++k) column(k, 0) = tensor.codes(k, i);
    bits.push_back(pooled_entropy(column, tensor.trellis > 0));
  }
  layer.column_bits = quantiles(std::move(bits));
  std::vector<double> scales;
  for (size_t k = 0; k < tensor.row_scale.half.size(); ++k)
    scales.push_back(static_cast<double>(tensor.row_scale.value(static_cast<int64_t>(k))));
  layer.row_scales = quantiles(std::move(scales));
}

Json sensitivities_json(const std::vector<LayerSensitivity>& layers) {
  Json json = Json::array();
  for (const LayerSensitivity& layer : layers)
    json.push_back({{"name", layer.name},
                    {"weights", layer.weights},
                    {"bits", layer.bits},
                    {"kl_bits", layer.kl_bits},
                    {"slope", layer.slope},
                    {"share", layer.share}});
  return json;
}

std::vector<LayerSensitivity> sensitivities_from_json(const Json& json, const std::string& name) {
  std::vector<LayerSensitivity> out;
  for (const Json& entry : json) {
    const JsonFields fields(entry, name);
    LayerSensitivity layer{.name = fields.text("name"), .weights = fields.integer("weights")};
    layer.bits = numbers(fields, "bits");
    layer.kl_bits = numbers(fields, "kl_bits");
    layer.slope = fields.number("slope");
    layer.share = fields.number("share");
    out.push_back(std::move(layer));
  }
  return out;
}

std::string to_json(const QuantizeReport& report) {
  Json json = {{"schema", "watersic.run/1"},
               {"model", report.model},
               {"output", report.output},
               {"model_id", report.model_id},
               {"version", report.version},
               {"options", options_json(report.options)},
               {"calibration",
                {{"windows", report.calibration_windows}, {"tokens", report.calibration_tokens}}},
               {"totals",
                {{"bits", bits_json(report.bits)},
                 {"target_bits", report.target_bits},
                 {"basis_bits", report.basis_bits},
                 {"quantized_weights", report.quantized_weights},
                 {"file_bytes", report.file_bytes},
                 {"kept_bytes", report.kept_bytes},
                 {"seconds", report.seconds}}}};
  for (const StageReport& stage : report.stages) {
    json["stages"].push_back(
        {{"stage", stage.stage}, {"seconds", stage.seconds}, {"peak_bytes", stage.peak_bytes}});
  }
  for (const LayerReport& layer : report.layers) json["layers"].push_back(layer_json(layer));
  json["embeddings"] = Json::array();
  for (const LayerReport& matrix : report.embeddings)
    json["embeddings"].push_back(layer_json(matrix));
  json["sensitivities"] = sensitivities_json(report.sensitivities);
  json["outliers"] = Json::array();
  for (const OutlierReport& o : report.outliers)
    json["outliers"].push_back({{"block", o.block}, {"row", o.row}, {"ratio", o.ratio}});
  return json.dump(2) + "\n";
}

}  // namespace watersic
