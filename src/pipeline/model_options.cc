#include "pipeline/model_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "quant/method.h"
#include "quant/option_table.h"
#include "watersic/error.h"

namespace watersic {
namespace {

template <class T>
Json json_of(const T& value) {
  const auto* plain = value_of(value);
  if (plain == nullptr) return nullptr;
  if constexpr (std::is_enum_v<Plain<T>>) {
    return name_of(*plain);
  } else {
    return *plain;
  }
}

template <class Row>
void add_options(Json& json, const std::vector<Row>& table, const typename Row::Struct& owner) {
  for (const Row& row : table) {
    std::string key = row.key != nullptr ? row.key : row.name;
    std::ranges::replace(key, '-', '_');
    json[key] = std::visit([&](auto member) { return json_of(owner.*member); }, row.member);
  }
}

}  // namespace

const std::vector<ModelOption>& model_option_table() {
  using M = ModelOptions;
  static const std::vector<ModelOption> table{
      {"drift", &M::drift, "",
       "Statistics of the model quantized so far, with the original's outputs as the target (on; "
       "gptq methods: the statistics alone)"},
      {"residual", &M::residual, "",
       "watersic: o_proj and down_proj also mend what the residual stream has lost (on)"},
      {"mixing", &M::mixing, "",
       "watersic: q, k, v lean on the original's statistics, and on unweighted ones, as far as it "
       "helps, found by trying (off: much time for little)"},
      {"output-metric", &M::output_metric, "",
       "watersic: outputs count as much as their errors change the model's output, and rows make "
       "good the errors of others (on)"},
      {"token-weighting", &M::token_weighting, "",
       "watersic: tokens count as much as errors there change the model's output (on, with a "
       "metric of the outputs)"},
      {"attention-weighting", &M::attention_weighting, "",
       "watersic: q, k, v count a token as much as it is attended to (on without token weighting)"},
      {.name = "allocate",
       .member = &M::allocation,
       .values = "",
       .help = "How the layers share the bits: all alike, or more for those whose errors change "
               "the model's output most, by quantizing each alone, or by gradients (watersic's "
               "default)",
       .key = "allocation"},
      {"basis", &M::basis, "",
       "The coordinates of the layers: the model's own; with each attention head's values turned "
       "to their principal axes; with the residual stream turned to its own as well (watersic: "
       "what the model's statistics foretell to be best)"},
      {"mix-gate-up", &M::mix_gate_up, "", "watersic: such a search for gate and up, too (off)"},
      {"mixing-steps", &M::mixing_steps, "N",
       "Golden-section steps of each search (default 5; the papers take 15)", 0, 100},
  };
  return table;
}

const std::vector<QuantizeOption>& quantize_option_table() {
  using Q = QuantizeOptions;
  static const std::vector<QuantizeOption> table{
      {"embedding-bits", &Q::embedding_bits, "B",
       "Bits a weight of the embedding, 0.5 to 10: always by method watersic, on top of the "
       "layers' bits, which don't count it (default: what gradients find it worth beside the "
       "layers, from their bits to 3 more; 3 more with other ways to allocate; 16, kept, with the "
       "other methods and where that is more than 10)"},
      {"head-bits", &Q::head_bits, "B",
       "Likewise of the output head. Where it is the embedding's matrix, the two are one option"},
      {.name = "override",
       .member = &Q::overrides,
       .values = "REGEX:NAME=VALUE,...",
       .help = "Options of the layers whose names match: 'down_proj:bits=3' or "
               "'layers\\.0\\.:bits=4,trellis=0'. The last match wins",
       .key = "overrides"},
      {"keep", &Q::keep, "REGEX", "Layers whose names match are kept in 16 bits"},
      {"zero-rows", &Q::zero_rows, "ROWS",
       "Rows of gate and up to take out of the model, with the columns of down that read them: "
       "'6.gate_proj:5723,8518;16.gate_proj:2271'"},
      {"limits", &Q::limits, "",
       "Report no information-theoretic limits of the layers: saves the time of their eigenvalues"},
  };
  return table;
}

std::vector<OptionInfo> describe_options(const ModelOptions&) {
  return describe_table(model_option_table());
}
std::vector<OptionInfo> describe_options(const QuantizeOptions&) {
  return describe_table(quantize_option_table());
}
void set_option(ModelOptions& options, const std::string& name, const std::string& value) {
  set_value(find_option(model_option_table(), name), options, value);
}
void set_option(QuantizeOptions& options, const std::string& name, const std::string& value) {
  set_value(find_option(quantize_option_table(), name), options, value);
}

void set_calibration(CalibrationOptions& options, const std::string& value) {
  using Source = CalibrationOptions::Source;
  options.source = value == name_of(Source::kSelf)   ? Source::kSelf
                   : value == name_of(Source::kNone) ? Source::kNone
                                                     : Source::kText;
  if (options.source == Source::kText) options.file = value;
}

int64_t parse_size(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  std::string unit(rest, end);
  if (unit.ends_with("iB")) unit.resize(unit.size() - 2);
  const std::map<std::string, double> units{
      {"", 1}, {"K", 1024.0}, {"M", 1024.0 * 1024}, {"G", 1024.0 * 1024 * 1024}};
  if (error != std::errc() || !units.contains(unit) || !(value > 0) || value > 1e15)
    throw Error(fmt::format("size: expected a number with K, M or G, found '{}'", text));
  return static_cast<int64_t>(value * units.at(unit));
}

Json calibration_json(const CalibrationOptions& options) {
  return {{"source", name_of(options.source)},
          {"file", options.file.string()},
          {"samples", options.samples},
          {"sequence_length", options.sequence_length}};
}

Json options_json(const QuantizeOptions& options) {
  Json json = {{"calibration", calibration_json(options.calibration)},
               {"file_size", options.file_size}};
  add_options(json, quantizer_option_table(), options);
  add_options(json, model_option_table(), options.model);
  add_options(json, quantize_option_table(), options);
  return json;
}

ModelOptions resolved_model_options(const QuantizeOptions& options) {
  const Method method = options.method;
  const bool calibrated = options.calibration.source != CalibrationOptions::Source::kNone;
  const bool full = calibrated && knows_model(method);
  const auto refuse = [&](const char* what, const char* why) {
    throw Error(fmt::format("{}: {}", what, why));
  };
  ModelOptions out = options.model;
  for (const ModelOption& option : model_option_table()) check_bounds(option, out);
  const auto decide = [&](const char* name, std::optional<bool>& option, bool can,
                          bool by_default) {
    if (option.value_or(false) && !can)
      refuse(name,
             calibrated ? "has no meaning for this method, or without drift" : "needs calibration");
    option = option.value_or(by_default) && can;
  };
  decide("drift", out.drift, calibrated && uses_statistics(method), true);
  decide("residual", out.residual, full && *out.drift, true);
  // Candidates are judged by what they do to the quantized stream.
  decide("mixing", out.mixing, full && *out.drift, false);
  if (out.mix_gate_up && !(full && *out.drift))
    refuse("mix-gate-up", "needs method watersic, calibration and drift");
  const bool lmmse = settled(options).lmmse;
  if (out.output_metric.value_or(false) && lmmse)
    refuse("output-metric", "does not go together with lmmse");
  decide("output-metric", out.output_metric, full, !lmmse);
  decide("token-weighting", out.token_weighting, full, *out.output_metric);
  decide("attention-weighting", out.attention_weighting, full, !*out.token_weighting);
  if (out.allocation.value_or(Allocation::kUniform) != Allocation::kUniform &&
      !(calibrated && !is_grid(method)))
    refuse("allocate",
           calibrated ? "has no meaning for methods of a fixed grid" : "needs calibration");
  out.allocation = out.allocation.value_or(full ? Allocation::kGradient : Allocation::kUniform);
  return out;
}

bool takes_gradients(const ModelOptions& options) {
  return *options.output_metric || *options.token_weighting ||
         *options.allocation == Allocation::kGradient;
}

}  // namespace watersic
