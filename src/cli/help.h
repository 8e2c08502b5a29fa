// How --help and usage errors look.
#pragma once

#include <CLI/CLI.hpp>

namespace watersic::cli {

// For the program and, since subcommands take it over, all that is added afterwards. A subcommand's
// description is a line for the program's list; the rest of it is for its own --help.
void use_our_help(CLI::App& program);

}  // namespace watersic::cli
