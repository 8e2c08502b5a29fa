#include "pipeline/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <regex>

#include "watersic/error.h"

namespace watersic {
namespace {

struct Pattern {
  std::string text;
  std::regex regex;
  std::vector<std::pair<std::string, std::string>> settings;
  bool used = false;

  bool matches(const std::string& name) {
    const bool found = std::regex_search(name, regex);
    used |= found;
    return found;
  }
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Pattern compile(const char* option, const std::string& text, const std::string& regex) {
  try {
    return {.text = text, .regex = std::regex(regex, std::regex::ECMAScript), .settings = {}};
  } catch (const std::regex_error&) {
    throw Error(
        fmt::format("{} '{}': expected a regular expression, found '{}'", option, text, regex));
  }
}

// "REGEX:name=value,...": the last colon parts them, since regular expressions may hold colons.
Pattern parse_override(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    throw Error(fmt::format("--override '{}': expected REGEX:name=value,...", text));
  Pattern pattern = compile("--override", text, text.substr(0, colon));
  for (const std::string& setting : split(text.substr(colon + 1), ',')) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos)
      throw Error(fmt::format("--override '{}': expected name=value, found '{}'", text, setting));
    pattern.settings.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
  }
  return pattern;
}

bool is_grid(Method method) { return method == Method::kGptq || method == Method::kRtn; }

// With the stream's weak directions as columns there is less for shrinkage to do: the KL at 1 to 2
// bits is 2% less than with the default.
constexpr double kShrinkageInPrincipalBasis = 0.025;

void check_used(const char* option, const std::vector<Pattern>& patterns) {
  for (const Pattern& pattern : patterns)
    if (!pattern.used)
      throw Error(fmt::format("{} '{}': matches no layer, such as {}", option, pattern.text,
                              "model.layers.0.self_attn.q_proj.weight"));
}

int64_t whole_number(const std::string& text, const std::string& all) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value < 0)
    throw Error(fmt::format("--zero-rows '{}': expected a whole number, found '{}'", all, text));
  return value;
}

}  // namespace

std::vector<std::vector<LayerPlan>> plan_layers(const ModelConfig& config,
                                                const QuantizeOptions& options) {
  std::vector<Pattern> overrides, keep;
  for (const std::string& text : options.overrides) overrides.push_back(parse_override(text));
  for (const std::string& text : options.keep) keep.push_back(compile("--keep", text, text));

  std::vector<std::vector<LayerPlan>> plan;
  for (int64_t block = 0; block < config.blocks; ++block) {
    plan.emplace_back();
    for (const LinearSite& site : linear_sites(config, block)) {
      LayerPlan layer{.site = site, .options = options};
      for (Pattern& pattern : keep) layer.keep |= pattern.matches(site.name);
      for (Pattern& pattern : overrides) {
        if (!pattern.matches(site.name)) continue;
        for (const auto& [name, value] : pattern.settings) {
          try {
            set_option(layer.options, name, value);
          } catch (const Error& e) {
            throw Error(fmt::format("--override '{}': {}", pattern.text, e.what()));
          }
          layer.fixed |= name == "bits";
        }
      }
      layer.fixed |= layer.keep || is_grid(layer.options.method);
      try {
        check_options(layer.options);
      } catch (const Error& e) {
        if (options.overrides.empty()) throw;
        throw Error(fmt::format("{}: {}", site.name, e.what()));
      }
      if (options.model.basis == Basis::kPrincipal && layer.options.method == Method::kWatersic &&
          !layer.options.shrinkage)
        layer.options.shrinkage = kShrinkageInPrincipalBasis;
      plan.back().push_back(std::move(layer));
    }
  }
  check_used("--override", overrides);
  check_used("--keep", keep);
  return plan;
}

ModelOptions resolved_model_options(const QuantizeOptions& options) {
  const Method method = options.method;
  const bool calibrated = options.calibration.source != CalibrationOptions::Source::kNone;
  const bool full = calibrated && method == Method::kWatersic;
  const bool gptq = calibrated && (method == Method::kGptq || method == Method::kHuffmanGptq);
  const auto refuse = [&](const char* what, const char* why) {
    throw Error(fmt::format("{}: {}", what, why));
  };
  ModelOptions out = options.model;
  const auto decide = [&](std::optional<bool>& option, bool can, bool by_default,
                          const char* name) {
    if (option.value_or(false) && !can)
      refuse(name,
             calibrated ? "has no meaning for this method, or without drift" : "needs calibration");
    option = option.value_or(by_default) && can;
  };
  decide(out.drift, full || gptq, true, "--drift");
  decide(out.residual, full && *out.drift, true, "--residual");
  // Candidates are judged by what they do to the quantized stream.
  decide(out.mixing, full && *out.drift, false, "--mixing");
  if (out.mix_gate_up && !(full && *out.drift))
    refuse("--mix-gate-up", "needs method watersic, calibration and drift");
  if (out.output_metric.value_or(false) && options.lmmse.value_or(false))
    refuse("--output-metric", "does not go together with --lmmse");
  decide(out.output_metric, full, !options.lmmse.value_or(false), "--output-metric");
  decide(out.token_weighting, full, *out.output_metric, "--token-weighting");
  decide(out.attention_weighting, full, !*out.token_weighting, "--attention-weighting");
  const bool coded = !is_grid(method);
  if (out.allocation.value_or(Allocation::kUniform) != Allocation::kUniform &&
      !(calibrated && coded))
    refuse("--allocate",
           calibrated ? "has no meaning for methods of a fixed grid" : "needs calibration");
  out.allocation = out.allocation.value_or(full ? Allocation::kGradient : Allocation::kUniform);
  if (out.mixing_steps < 0 || out.mixing_steps > 100)
    throw Error(fmt::format("mixing steps: expected 0 to 100, found {}", out.mixing_steps));
  return out;
}

ZeroRows parse_zero_rows(const std::string& text, const ModelConfig& config) {
  ZeroRows out;
  if (text.empty()) return out;
  for (const std::string& part : split(text, ';')) {
    const size_t dot = part.find('.'), colon = part.find(':');
    if (dot == std::string::npos || colon == std::string::npos || dot > colon)
      throw Error(fmt::format("--zero-rows '{}': expected BLOCK.gate_proj:ROW,ROW, found '{}'",
                              text, part));
    const std::string layer = part.substr(dot + 1, colon - dot - 1);
    if (layer != "gate_proj" && layer != "up_proj")
      throw Error(
          fmt::format("--zero-rows '{}': expected gate_proj or up_proj, found '{}'", text, layer));
    const int64_t block = whole_number(part.substr(0, dot), text);
    if (block >= config.blocks)
      throw Error(fmt::format("--zero-rows '{}': expected a block below {}, found {}", text,
                              config.blocks, block));
    for (const std::string& number : split(part.substr(colon + 1), ',')) {
      const int64_t row = whole_number(number, text);
      if (row >= config.intermediate)
        throw Error(fmt::format("--zero-rows '{}': expected a row below {}, found {}", text,
                                config.intermediate, row));
      out[block].push_back(row);
    }
  }
  return out;
}

void take_out(const std::vector<int64_t>& rows, BlockWeights& block) {
  for (const Linear linear : {kGate, kUp}) {
    DenseLayer& layer = block.linear[linear];
    for (const int64_t row : rows) {
      std::fill(layer.weight.row(row).begin(), layer.weight.row(row).end(), 0.0F);
      if (!layer.bias.empty()) layer.bias[static_cast<size_t>(row)] = 0;
    }
  }
}

}  // namespace watersic
