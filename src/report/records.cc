#include "report/records.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

namespace watersic::report {
namespace {

std::optional<double> optional_number(const JsonFields& json, const std::string& field) {
  if (!json.has(field)) return std::nullopt;
  return json.number(field);
}
std::optional<int64_t> optional_integer(const JsonFields& json, const std::string& field) {
  if (!json.has(field)) return std::nullopt;
  return json.integer(field);
}

int64_t count(const JsonFields& json, const std::string& field) {
  if (!json.has(field) || json.integer(field) < 0) json.fail(field, "an integer of at least 0");
  return json.integer(field);
}

Bits read_bits(const JsonFields& json) {
  return {.file = json.number("file"),
          .coded = json.number("coded"),
          .side = json.number("side"),
          .pooled_entropy = optional_number(json, "pooled_entropy"),
          .paper_rate = optional_number(json, "paper_rate")};
}

Quantiles read_quantiles(const JsonFields& json, const std::string& field) {
  if (!json.has(field)) return {};
  Quantiles values;
  const Json& array = json.array(field);
  if (array.empty()) return {};
  for (const Json& value : array) {
    const bool good = value.is_number() && (values.empty() || value.get<double>() >= values.back());
    if (!good) json.fail(field, "numbers that do not fall");
    values.push_back(value.get<double>());
  }
  if (values.size() < 2) json.fail(field, "at least two quantiles");
  return values;
}

std::optional<Mixing> read_mixing(const JsonFields& layer) {
  if (!layer.has("mixing")) return std::nullopt;
  const JsonFields json = layer.object("mixing");
  Mixing mixing{.e_q = json.number("e_q"), .e_a = json.number("e_a")};
  if (!json.has("points")) return mixing;
  const Json& points = json.array("points");
  for (size_t i = 0; i < points.size(); ++i) {
    const JsonFields point(points[i], fmt::format("{}: points[{}]", json.name(), i));
    mixing.points.push_back(
        {.e_q = point.number("e_q"), .e_a = point.number("e_a"), .error = point.number("error")});
  }
  return mixing;
}

// "model.layers.3.self_attn.q_proj.weight": q_proj of block 3.
void name_parts(Layer& layer) {
  std::string_view rest = layer.name;
  if (rest.ends_with(".weight")) rest.remove_suffix(std::string_view(".weight").size());
  layer.kind = rest;
  std::string_view last = rest;
  while (!rest.empty()) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    last = rest.substr(0, dot);
    int64_t number = 0;
    const auto [end, error] = std::from_chars(last.data(), last.data() + last.size(), number);
    if (!layer.block && error == std::errc() && end == last.data() + last.size() && number >= 0)
      layer.block = number;
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  if (layer.block) layer.kind = last;
}

Layer read_layer(const JsonFields& json) {
  Layer layer{.name = json.text("name"),
              .rows = count(json, "rows"),
              .cols = count(json, "cols"),
              .bits = read_bits(json.object("bits")),
              .dead = optional_integer(json, "dead"),
              .target_bits = optional_number(json, "target_bits"),
              .limit_bits = optional_number(json, "limit_bits"),
              .gap = optional_number(json, "gap"),
              .distortion = optional_number(json, "distortion"),
              .relative_distortion = optional_number(json, "relative_distortion"),
              .damping = optional_number(json, "damping"),
              .step = optional_number(json, "step"),
              .seconds = optional_number(json, "seconds"),
              .sensitivity = optional_number(json, "sensitivity"),
              .capture_error = optional_number(json, "capture_error"),
              .column_bits = read_quantiles(json, "column_bits"),
              .row_scales = read_quantiles(json, "row_scales"),
              .column_factors = read_quantiles(json, "column_factors"),
              .mixing = read_mixing(json)};
  name_parts(layer);
  return layer;
}

// Options as lines of text: whatever a later version adds is shown too. What is not given (null,
// "",
// []) is none.
void flatten(const Json& json, const std::string& path,
             std::vector<std::pair<std::string, std::string>>& out) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items())
      flatten(value, path.empty() ? key : path + "." + key, out);
    return;
  }
  std::string text;
  if (json.is_array()) {
    for (const Json& value : json)
      text += (text.empty() ? "" : ", ") +
              (value.is_string() ? value.get<std::string>() : value.dump());
  } else if (json.is_string()) {
    text = json;
  } else if (!json.is_null()) {
    text = json.dump();
  }
  if (!text.empty()) out.emplace_back(path, text);
}

Run read_run(const JsonFields& json) {
  const JsonFields options = json.object("options"), totals = json.object("totals");
  Run run{.file = json.name(),
          .model = json.text("model"),
          .output = json.text("output", ""),
          .model_id = json.text("model_id"),
          .version = json.text("version", ""),
          .method = options.text("method"),
          .target_bits = totals.number("target_bits", options.number("bits")),
          .bits = read_bits(totals.object("bits")),
          .quantized_weights = count(totals, "quantized_weights"),
          .file_bytes = count(totals, "file_bytes"),
          .kept_bytes = count(totals, "kept_bytes"),
          .seconds = totals.number("seconds")};
  flatten(options.json(), "", run.options);
  if (json.has("embeddings")) {
    const Json& matrices = json.array("embeddings");
    for (size_t i = 0; i < matrices.size(); ++i) {
      const JsonFields matrix(matrices[i], fmt::format("{}: embeddings[{}]", json.name(), i));
      run.embedding_weights += count(matrix, "rows") * count(matrix, "cols");
    }
  }
  if (json.has("layers")) {
    const Json& layers = json.array("layers");
    for (size_t i = 0; i < layers.size(); ++i) {
      const JsonFields layer(layers[i], fmt::format("{}: layers[{}]", json.name(), i));
      (layer.boolean("kept", false) ? run.kept : run.layers).push_back(read_layer(layer));
    }
  }
  if (json.has("outliers")) {
    const Json& outliers = json.array("outliers");
    for (size_t i = 0; i < outliers.size(); ++i) {
      const JsonFields outlier(outliers[i], fmt::format("{}: outliers[{}]", json.name(), i));
      run.outliers.push_back({.block = outlier.integer("block"),
                              .row = outlier.integer("row"),
                              .ratio = outlier.number("ratio")});
    }
  }
  if (json.has("stages")) {
    const Json& stages = json.array("stages");
    for (size_t i = 0; i < stages.size(); ++i) {
      const JsonFields stage(stages[i], fmt::format("{}: stages[{}]", json.name(), i));
      run.stages.push_back({.name = stage.text("stage"),
                            .seconds = stage.number("seconds"),
                            .peak_bytes = optional_integer(stage, "peak_bytes")});
    }
  }
  return run;
}

// Numbers, each a name: a value may be an object {"value", "error"}; other objects are gone into.
void read_named(const JsonFields& json, const std::string& prefix, Named& out) {
  for (const auto& [key, value] : json.json().items()) {
    if (value.is_number()) {
      out.push_back({prefix + key, {.value = value}});
    } else if (value.is_object()) {
      const JsonFields inner = json.object(key);
      if (inner.has("value")) {
        out.push_back({prefix + key,
                       {.value = inner.number("value"), .error = optional_number(inner, "error")}});
      } else {
        read_named(inner, prefix + key + ".", out);
      }
    }
  }
}

// {"acc": 0.5, "acc_stderr": 0.01, "acc_norm": ...}, among whatever else.
Named read_accuracies(const JsonFields& json) {
  constexpr std::string_view kError = "_stderr";
  Named out;
  for (const auto& [key, value] : json.json().items()) {
    if (!key.starts_with("acc") || key.ends_with(kError)) continue;
    out.push_back(
        {key,
         {.value = json.number(key), .error = optional_number(json, key + std::string(kError))}});
  }
  if (out.empty()) json.fail("acc", "an accuracy");
  return out;
}

Evaluation read_task(const JsonFields& json) {
  Evaluation e{.file = json.name(),
               .model = json.text("model"),
               .model_id = json.text("model_id"),
               .reference = json.text("reference", ""),
               .reference_id = json.text("reference_id", ""),
               .text_hash = json.text("prompts_hash", ""),
               .seconds = optional_number(json, "seconds"),
               .task = json.text("task"),
               .questions = optional_integer(json, "questions"),
               .shots = optional_integer(json, "shots"),
               .accuracy = read_accuracies(json)};
  if (json.has("reference_accuracy"))
    e.reference_accuracy = read_accuracies(json.object("reference_accuracy"));
  if (json.has("agreement")) e.agreement = read_accuracies(json.object("agreement"));
  if (!json.has("groups")) return e;
  const Json& groups = json.array("groups");
  for (size_t i = 0; i < groups.size(); ++i) {
    const JsonFields group(groups[i], fmt::format("{}: groups[{}]", json.name(), i));
    e.groups.push_back({.name = group.text("name"),
                        .questions = optional_integer(group, "questions"),
                        .accuracy = read_accuracies(group)});
  }
  return e;
}

Evaluation read_evaluation(const JsonFields& json) {
  Evaluation e{.file = json.name(),
               .model = json.text("model"),
               .model_id = json.text("model_id"),
               .reference = json.text("reference", ""),
               .reference_id = json.text("reference_id", ""),
               .seconds = optional_number(json, "seconds")};
  e.convention = json.text("convention");
  e.text_hash = json.text("text_hash");
  e.context = json.integer("context");
  e.windows = optional_integer(json, "windows");
  e.tokens = optional_integer(json, "tokens");
  e.perplexity = json.number("perplexity");
  e.bits_per_byte = optional_number(json, "bits_per_byte");
  e.nll = optional_number(json, "nll");
  e.reference_perplexity = optional_number(json, "reference_perplexity");
  e.kl_bits = optional_number(json, "kl_bits");
  e.top1 = optional_number(json, "top1");
  if (json.has("kl_statistics")) {
    const JsonFields statistics = json.object("kl_statistics");
    e.kl_unit = statistics.text("unit", "");
    read_named(statistics, "", e.kl_statistics);
  }
  return e;
}

}  // namespace

Record read_record(const Json& json, const std::string& name) {
  const JsonFields fields(json, name);
  const std::string schema = fields.text("schema");
  if (schema == "watersic.run/1") return read_run(fields);
  if (schema == "watersic.eval/1") return read_evaluation(fields);
  if (schema == "watersic.task/1") return read_task(fields);
  fields.fail("schema",
              "watersic.run/1 (the report of a quantization), watersic.eval/1 or watersic.task/1");
}

}  // namespace watersic::report
