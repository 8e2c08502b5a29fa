#include "io/json.h"
#include "watersic/quantize.h"

namespace watersic {
namespace {

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
               {"target_bits", layer.target_bits},
               {"bits", bits_json(layer.bits)},
               {"distortion", layer.distortion},
               {"relative_distortion", layer.relative_distortion},
               {"dead", layer.dead},
               {"damping", layer.damping},
               {"step", layer.step},
               {"seconds", layer.seconds}};
  if (layer.has_limit) {
    json["limit_bits"] = layer.limit_bits;
    json["gap"] = layer.gap;
  }
  return json;
}

Json options_json(const QuantizeOptions& options) {
  const char* kSources[] = {"self", "text", "none"};
  const CalibrationOptions& calibration = options.calibration;
  Json json = {
      {"method", method_name(options.method)},
      {"bits", options.bits},
      {"rate", options.rate == RateTarget::kPaper ? "paper" : "file"},
      {"rescalers", options.rescalers},
      {"group_size", options.group_size},
      {"activation_order", options.activation_order},
      {"seed", options.seed},
      {"calibration",
       {{"source", kSources[static_cast<size_t>(calibration.source)]},
        {"file", calibration.file.string()},
        {"samples", calibration.samples},
        {"sequence_length", calibration.sequence_length}}},
  };
  json["lmmse"] = options.lmmse ? Json(*options.lmmse) : Json(nullptr);
  json["trellis"] = options.trellis ? Json(*options.trellis) : Json(nullptr);
  json["shrinkage"] = options.shrinkage ? Json(*options.shrinkage) : Json(nullptr);
  json["coder"] = options.coder == Coder::kPooled ? "pooled" : "classes";
  const char* kOrders[] = {"native", "falling", "rising"};
  json["order"] = kOrders[static_cast<size_t>(options.order)];
  json["rotate"] = options.rotate;
  json["damping"] = options.damping ? Json(*options.damping) : Json(nullptr);
  json["dead_threshold"] = options.dead_threshold ? Json(*options.dead_threshold) : Json(nullptr);
  return json;
}

}  // namespace

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
                 {"quantized_weights", report.quantized_weights},
                 {"file_bytes", report.file_bytes},
                 {"kept_bytes", report.kept_bytes},
                 {"seconds", report.seconds}}}};
  for (const StageReport& stage : report.stages) {
    json["stages"].push_back(
        {{"stage", stage.stage}, {"seconds", stage.seconds}, {"peak_bytes", stage.peak_bytes}});
  }
  for (const LayerReport& layer : report.layers) json["layers"].push_back(layer_json(layer));
  return json.dump(2) + "\n";
}

}  // namespace watersic
