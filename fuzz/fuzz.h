// What a fuzz target defines: one of the readers of files that strangers wrote, inputs to begin
// with, and how such an input is spoilt. The rest (fuzz.cc, standalone.cc) is common to all.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "io/json.h"

namespace watersic {

// Valid inputs of every kind, small, made by the project's own writers.
std::vector<std::string> fuzz_seeds();
// Reads the input, and all that it gives access to. May throw Error; whatever else happens is a
// bug.
void fuzz_input(const std::string& input);
// Another input, made from this one.
std::string fuzz_mutate(const std::string& input, Rng& rng);

// For fuzz_mutate. Bits, bytes and numbers are changed; pieces are cut out, repeated, moved.
std::string mutate_bytes(std::string input, Rng& rng);
// A value is replaced, taken out or put elsewhere, so that what comes out is JSON; what is not JSON
// is changed as bytes are.
std::string mutate_json(const std::string& input, Rng& rng);

// The input as a file, for readers that map one. There is one at a time; it goes with the program,
// unless that dies.
std::string fuzz_file(std::string_view input);
// What a writer that takes a path writes.
std::string written(const std::function<void(const std::string& path)>& write);

}  // namespace watersic
