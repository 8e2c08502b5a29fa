#include "watersic/options.h"

#include <fmt/format.h>

#include <cmath>

#include "base/bitshift.h"
#include "base/trellis.h"
#include "quant/method.h"
#include "quant/option_table.h"
#include "watersic/error.h"

namespace watersic {

const MethodTraits& traits_of(Method method) {
  static constexpr SettledOptions kOurs{
      .damping = 1e-4, .dead_threshold = 1e-3, .shrinkage = 0.06, .trellis = 64};
  static constexpr SettledOptions kGptq{.damping = 0.1};
  // In the order of the methods: grid, statistics, column_steps, knows_model.
  static constexpr std::array<MethodTraits, names_of<Method>.size()> kTraits{
      {{false, true, true, true, kOurs},    // watersic
       {false, true, false, false, kGptq},  // huffman-gptq
       {false, false, false, false, {}},    // huffman-rtn
       {true, true, false, false, kGptq},   // gptq
       {true, false, false, false, {}}}};   // rtn
  return kTraits[static_cast<size_t>(method)];
}

bool can_have_bits(Method method, double bits) {
  return !is_grid(method) || (bits == std::floor(bits) && bits >= 1 && bits <= 8);
}

SettledOptions settled(const QuantizerOptions& options) {
  const SettledOptions& defaults = traits_of(options.method).defaults;
  // Of the noise that the runnable layout gives, as its theory has it (quant/bitshift_plan.h).
  constexpr double kOfNoise = 1.0 / 12;
  const double shrinkage = options.layout == Layout::kRunnable ? kOfNoise : defaults.shrinkage;
  return {.damping = options.damping.value_or(defaults.damping),
          .dead_threshold = options.dead_threshold.value_or(defaults.dead_threshold),
          .shrinkage = options.shrinkage.value_or(shrinkage),
          .trellis = options.trellis.value_or(defaults.trellis),
          .lmmse = options.lmmse.value_or(defaults.lmmse),
          .state_bits = options.state_bits.value_or(defaults.state_bits)};
}

const std::vector<QuantizerOption>& quantizer_option_table() {
  using Q = QuantizerOptions;
  static constexpr auto kCoded = [](Method method) { return !is_grid(method); };
  static const std::vector<QuantizerOption> table{
      {{"bits", &Q::bits, "B",
        "Bits a weight, 0.05 to 16 (gptq, rtn: width of the integer grid, 1 to 8)", 0.05, 16}},
      {{"method", &Q::method, "", "How weights become integers (default watersic)"}},
      {{"rate", &Q::rate, "",
        "What is counted as bits: what the file spends (default), or the papers' count"},
       kCoded,
       false},
      {{"damping", &Q::damping, "X",
        "Added to the covariance's diagonal, times its mean (default 1e-4; gptq and huffman-gptq "
        "0.1)",
        0, 1e6},
       uses_statistics},
      {{"dead-threshold", &Q::dead_threshold, "X",
        "An input below this times the median second moment is dead: its column becomes zero and "
        "costs nothing (default 1e-3; gptq and huffman-gptq 0)",
        0, 1},
       uses_statistics},
      {{"rescalers", &Q::rescalers, "", "watersic: do not refit row and column scales"},
       has_column_steps},
      {{"lmmse", &Q::lmmse, "", "watersic: shrink steps as columns are quantized (off)"},
       has_column_steps},
      {{"group-size", &Q::group_size, "N",
        "gptq, rtn: columns that share a scale (default: a whole row)", 0},
       is_grid},
      {{"activation-order", &Q::activation_order, "",
        "gptq, huffman-gptq: columns of large activations first"},
       is_gptq},
      {{"trellis", &Q::trellis, "N",
        "States of the trellis down each column: 0 (none), 4, 8, ... 256 (default 64; other "
        "methods 0)"},
       kCoded},
      {{"coder", &Q::coder, "",
        "classes (default): a table for each class of spread; pooled: one table"}},
      {{"layout", &Q::layout, "",
        "entropy (default): the fewest bits; runnable: what is in the file is what products read"},
       has_column_steps,
       false},
      {{"state-bits", &Q::state_bits, "N",
        "Runnable layout: bits of the trellis's state, 8 to 16 (default 14): more are better and "
        "slower",
        kLeastMemory, kMostMemory},
       has_column_steps,
       false},
      {{"order", &Q::order, "",
        "Columns by their second moment: native (default), falling (strong ones mend weak ones) or "
        "rising"},
       uses_statistics},
      {{"shrinkage", &Q::shrinkage, "X",
        "watersic: damping towards zero in proportion to the step squared (default 0.06, in a "
        "principal basis 0.025, in the runnable layout 1/12; 0 for none)",
        0, 1},
       has_column_steps},
      {{"rotate", &Q::rotate, "",
        "gptq methods: rotate the inputs at random (undone when decoded)"},
       is_gptq},
      {{"seed", &Q::seed, "S", "Seed of all that is random (default 1)"}, nullptr, false},
  };
  return table;
}

std::vector<OptionInfo> describe_options(const QuantizerOptions&) {
  return describe_table(quantizer_option_table());
}

void set_option(QuantizerOptions& options, const std::string& name, const std::string& value) {
  set_value(find_option(quantizer_option_table(), name), options, value);
}

void check_options(const QuantizerOptions& options) {
  const auto refuse = [](const std::string& option, const std::string& why) {
    throw Error(fmt::format("{}: {}", option, why));
  };
  for (const QuantizerOption& option : quantizer_option_table()) {
    check_bounds(option, options);
    if (option.applies != nullptr && !option.applies(options.method) && is_given(option, options))
      refuse(option.name, fmt::format("has no meaning for method {}", name_of(options.method)));
  }
  if (!can_have_bits(options.method, options.bits)) {
    refuse("bits", fmt::format("method {} takes the width of an integer grid: expected 1 to 8, "
                               "found {}",
                               name_of(options.method), options.bits));
  }
  if (options.trellis.value_or(0) != 0) Trellis::of(*options.trellis);  // refuses what is none
  if (options.layout == Layout::kRunnable) {
    for (const auto& [name, given] : {std::pair{"trellis", options.trellis.value_or(0) != 0},
                                      {"lmmse", options.lmmse.value_or(false)},
                                      {"coder", options.coder != Coder::kClasses},
                                      {"rate", options.rate != RateTarget::kFile}})
      if (given) refuse(name, "has no meaning for the runnable layout");
  } else if (options.state_bits) {
    refuse("state-bits", "has no meaning for the entropy-coded layout");
  }
  if (options.order != ColumnOrder::kNative && options.activation_order)
    refuse("activation-order", "is an order of columns itself: give one of the two");
}

std::vector<Setting> parse_settings(const std::string& text) {
  std::vector<Setting> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string setting = text.substr(begin, end - begin);
    const size_t equals = setting.find('=');
    if (equals == std::string::npos)
      throw Error(fmt::format("expected name=value, found '{}'", setting));
    out.push_back({setting.substr(0, equals), setting.substr(equals + 1)});
    begin = end + 1;
  }
  return out;
}

void set_options(QuantizerOptions& options, const std::vector<Setting>& settings) {
  std::vector<QuantizerOption> table;
  std::ranges::copy_if(quantizer_option_table(), std::back_inserter(table),
                       &QuantizerOption::per_layer);
  for (const auto& [name, value] : settings) set_value(find_option(table, name), options, value);
}

}  // namespace watersic
