// Standard streams that do no harm, and messages that do none to a terminal.
#pragma once

#include <string>
#include <string_view>

namespace watersic::cli {

// Before a file is opened: it must not get the number of a standard stream that is closed. What is
// written to a closed stdout is an error, to a closed stderr lost.
void open_standard_streams();

// To stderr. Where it can't be written nothing happens: a lost terminal ends no long run.
void say(std::string_view text);

// Control characters but line feeds as \xNN.
std::string printable(std::string_view text);

// "watersic: TEXT" to stderr, no longer than one reads.
void say_message(std::string_view text);

// Everything that was printed has arrived.
bool stdout_is_written();

// A signal's handler: temporary files go, and the program ends with 128 and the signal's number.
extern "C" void end_program(int signal);
// For SIGINT, SIGTERM and SIGHUP that. A lost reader of a pipe is an error of writing, a file that
// shrinks while it is read is named.
void end_on_signals();

}  // namespace watersic::cli
