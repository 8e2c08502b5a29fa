// What a run is: two runs of the same identity give the same bytes.
#pragma once

#include <optional>
#include <string>

#include "checkpoint/open_checkpoint.h"
#include "dist/communicator.h"
#include "io/json.h"
#include "watersic/quantize.h"

namespace watersic {

// Version, hashes of the checkpoint's and the calibration text's files, options. Reads all of them.
Json run_identity(const Checkpoint& checkpoint, const QuantizeOptions& options);

// Throws Error where ranks see different runs, or are of different processors, whose sums may
// differ.
void check_ranks(const Communicator& ranks, const Json& identity);

// The first value that differs, by its path: "options: bits: was 2, is 3".
std::optional<std::string> first_difference(const Json& was, const Json& is);

}  // namespace watersic
