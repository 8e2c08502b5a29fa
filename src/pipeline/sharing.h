// What one rank finished, sent to all of them.
#pragma once

#include <cstddef>
#include <vector>

#include "dist/communicator.h"
#include "pipeline/model_basis.h"
#include "pipeline/work_folder.h"
#include "watersic/quantize.h"

namespace watersic {

// A layer: its report and its coded tensor.
void share(const Communicator& ranks, int root, LayerReport& report,
           std::vector<std::byte>& tensor);
void share(const Communicator& ranks, int root, FinishedStage& stage);
void share(const Communicator& ranks, int root, SavedBasis& basis);
void share(const Communicator& ranks, int root, std::vector<LayerSensitivity>& layers);

}  // namespace watersic
