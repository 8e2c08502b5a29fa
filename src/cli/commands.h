// The subcommands: each adds itself to the program, with its options, and runs when it is chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "watersic/options.h"
#include "watersic/progress.h"

namespace watersic::cli {

void add_quantize(CLI::App& program);
void add_eval(CLI::App& program);
void add_layer(CLI::App& program);
void add_limit(CLI::App& program);
void add_inspect(CLI::App& program);
void add_verify(CLI::App& program);
void add_export(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_sample(CLI::App& program);
void add_synth(CLI::App& program);

// The options that `layer` and `quantize` share: method, bits and all that concerns one layer.
void add_quantizer_options(CLI::App& command, QuantizerOptions& options);

// Progress on stderr: a line that rewrites itself on a terminal, plain lines elsewhere; nothing
// where `quiet`.
ProgressFn progress_printer(bool quiet);

// `--threads N`
void add_threads(CLI::App& command, int& threads);

}  // namespace watersic::cli
