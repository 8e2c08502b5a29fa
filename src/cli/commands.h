// The subcommands: each adds itself to the program, with its options, and runs when it is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

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
void add_bench(CLI::App& program);
void add_sweep(CLI::App& program);
void add_synth(CLI::App& program);

// The options that `layer` and `quantize` share: method, bits and all that concerns one layer.
void add_quantizer_options(CLI::App& command, QuantizerOptions& options);

// `--calibration`, `--samples` and `--sequence-length`
void add_calibration_options(CLI::App& command, CalibrationOptions& options);

// True once SIGTERM or SIGINT has come: a run stops where it can be resumed.
StopFn stop_on_signals();

// Progress on stderr: a line that rewrites itself on a terminal, plain lines elsewhere; nothing
// where `quiet`.
ProgressFn progress_printer(bool quiet);

// An option that takes one of some words.
template <class T>
CLI::Option* add_choice(CLI::App& command, const std::string& name, T& value,
                        const std::map<std::string, T>& choices, const std::string& description) {
  std::vector<std::string> words;
  for (const auto& [word, meaning] : choices) words.push_back(word);
  return command
      .add_option_function<std::string>(
          name, [&value, choices](const std::string& word) { value = choices.at(word); },
          description)
      ->check(CLI::IsMember(words));
}

// `--weights packed|exact|float32`
void add_weights(CLI::App& command, WeightFormat& weights);

// `--threads N`
void add_threads(CLI::App& command, int& threads);
// `--cache 16|8|32`
void add_cache(CLI::App& command, CacheType& cache);

}  // namespace watersic::cli
