// The subcommands: each adds itself to the program, with its options, and runs when it is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "watersic/names.h"
#include "watersic/options.h"
#include "watersic/progress.h"
#include "watersic/quantize.h"
#include "watersic/running.h"

namespace watersic::cli {

void add_quantize(CLI::App& program);
void add_eval(CLI::App& program);
void add_finetune(CLI::App& program);
void add_layer(CLI::App& program);
void add_limit(CLI::App& program);
void add_inspect(CLI::App& program);
void add_verify(CLI::App& program);
void add_export(CLI::App& program);
void add_report(CLI::App& program);
void add_rotate(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_sample(CLI::App& program);
void add_generate(CLI::App& program);
void add_serve(CLI::App& program);
void add_bench(CLI::App& program);
void add_sweep(CLI::App& program);
void add_synth(CLI::App& program);

// One option of the library, which `set` takes from its text.
using SetFn = std::function<void(const std::string& value)>;
CLI::Option* add_option(CLI::App& command, const OptionInfo& option, const SetFn& set);

// All that the library describes of such a struct, or these of them.
template <class Options>
void add_options(CLI::App& command, Options& options, const std::set<std::string>& only = {}) {
  for (const OptionInfo& option : describe_options(options))
    if (only.empty() || only.contains(option.name))
      add_option(command, option, [&options, name = option.name](const std::string& value) {
        set_option(options, name, value);
      });
}

// `--calibration`, `--samples` and `--sequence-length`
void add_calibration_options(CLI::App& command, CalibrationOptions& options);

// True once SIGINT, SIGTERM or SIGHUP has come: a run stops where it can be resumed; at once when
// it comes again.
StopFn stop_on_signals();

// Progress on stderr: a line that rewrites itself on a terminal, plain lines elsewhere; nothing
// where `quiet`.
ProgressFn progress_printer(bool quiet);

// An option that takes one of an enum's names.
template <class Enum>
CLI::Option* add_choice(CLI::App& command, const std::string& name, Enum& value,
                        const std::string& description) {
  return command
      .add_option_function<std::string>(
          name, [&value](const std::string& word) { value = from_name<Enum>(word); }, description)
      ->check(CLI::IsMember(std::vector<std::string>(names_of<Enum>.begin(), names_of<Enum>.end())))
      ->type_name(joined_names<Enum>("|"));
}

// `--weights packed|exact|float32`
void add_weights(CLI::App& command, WeightFormat& weights);

// `--threads N`
void add_threads(CLI::App& command, int& threads);
// `--cache 16|8|32`
void add_cache(CLI::App& command, CacheType& cache);

}  // namespace watersic::cli
