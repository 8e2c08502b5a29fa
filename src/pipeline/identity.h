// What a run is: two runs of the same identity give the same bytes.
#pragma once

#include "io/json.h"
#include "model/open_checkpoint.h"
#include "watersic/quantize.h"

namespace watersic {

// Version, hashes of the checkpoint's and the calibration text's files, options. Reads all of them.
Json run_identity(const Checkpoint& checkpoint, const QuantizeOptions& options);

}  // namespace watersic
