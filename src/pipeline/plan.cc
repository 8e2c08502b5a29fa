#include "pipeline/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <regex>

#include "quant/method.h"
#include "watersic/error.h"

namespace watersic {
namespace {

struct Pattern {
  std::string text;
  std::regex regex;
  std::vector<Setting> settings;
  bool used = false;

  bool matches(const std::string& name) {
    const bool found = std::regex_search(name, regex);
    used |= found;
    return found;
  }
};

// What `work` gives; its errors say which override they are about.
template <class Work>
auto naming(const std::string& override, const Work& work) {
  try {
    return work();
  } catch (const Error& e) {
    throw Error(fmt::format("override '{}': {}", override, e.what()));
  }
}

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
    throw Error(fmt::format("override '{}': expected REGEX:name=value,...", text));
  Pattern pattern = compile("override", text, text.substr(0, colon));
  pattern.settings = naming(text, [&] { return parse_settings(text.substr(colon + 1)); });
  return pattern;
}

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
    throw Error(fmt::format("zero-rows '{}': expected a whole number, found '{}'", all, text));
  return value;
}

}  // namespace

std::vector<std::vector<LayerPlan>> plan_layers(const ModelConfig& config,
                                                const QuantizeOptions& options) {
  std::vector<Pattern> overrides, keep;
  for (const std::string& text : options.overrides) overrides.push_back(parse_override(text));
  for (const std::string& text : options.keep) keep.push_back(compile("keep", text, text));

  std::vector<std::vector<LayerPlan>> plan;
  for (int64_t block = 0; block < config.blocks; ++block) {
    plan.emplace_back();
    for (const LinearSite& site : linear_sites(config, block)) {
      LayerPlan layer{.site = site, .options = options};
      for (Pattern& pattern : keep) layer.keep |= pattern.matches(site.name);
      for (Pattern& pattern : overrides) {
        if (!pattern.matches(site.name)) continue;
        naming(pattern.text, [&] { set_options(layer.options, pattern.settings); });
        for (const Setting& setting : pattern.settings) layer.fixed |= setting.name == "bits";
      }
      layer.fixed |= layer.keep || is_grid(layer.options.method);
      try {
        check_options(layer.options);
      } catch (const Error& e) {
        if (options.overrides.empty()) throw;
        throw Error(fmt::format("{}: {}", site.name, e.what()));
      }
      if (options.model.basis == Basis::kPrincipal && has_column_steps(layer.options.method) &&
          !layer.options.shrinkage && layer.options.layout == Layout::kEntropy)
        layer.options.shrinkage = kShrinkageInPrincipalBasis;
      plan.back().push_back(std::move(layer));
    }
  }
  check_used("override", overrides);
  check_used("keep", keep);
  return plan;
}

ZeroRows parse_zero_rows(const std::string& text, const ModelConfig& config) {
  ZeroRows out;
  if (text.empty()) return out;
  for (const std::string& part : split(text, ';')) {
    const size_t dot = part.find('.'), colon = part.find(':');
    if (dot == std::string::npos || colon == std::string::npos || dot > colon)
      throw Error(
          fmt::format("zero-rows '{}': expected BLOCK.gate_proj:ROW,ROW, found '{}'", text, part));
    const std::string layer = part.substr(dot + 1, colon - dot - 1);
    if (layer != "gate_proj" && layer != "up_proj")
      throw Error(
          fmt::format("zero-rows '{}': expected gate_proj or up_proj, found '{}'", text, layer));
    const int64_t block = whole_number(part.substr(0, dot), text);
    if (block >= config.blocks)
      throw Error(fmt::format("zero-rows '{}': expected a block below {}, found {}", text,
                              config.blocks, block));
    for (const std::string& number : split(part.substr(colon + 1), ',')) {
      const int64_t row = whole_number(number, text);
      if (row >= config.intermediate)
        throw Error(fmt::format("zero-rows '{}': expected a row below {}, found {}", text,
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
