// How long work tells of itself. The library never prints: it calls a function that the caller
// gave.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace watersic {

struct ProgressEvent {
  std::string stage;  // "calibrating", "quantizing", ...
  std::string unit;   // what is counted: "blocks", "tokens", ...
  int64_t done = 0;   // of `total`
  int64_t total = 0;
  std::string detail;  // a line worth keeping ("block 3: 2.001 bits, ..."); may be empty
};

// Called from the thread that called the library. An empty function is silence.
using ProgressFn = std::function<void(const ProgressEvent&)>;

}  // namespace watersic
