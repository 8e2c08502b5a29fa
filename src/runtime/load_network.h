// A model's layers, in the form in which they shall be held.
#pragma once

#include <memory>

#include "engine/network.h"
#include "runtime/open_model.h"
#include "watersic/progress.h"
#include "watersic/running.h"

namespace watersic {

// All layers, ready to run. `model` must outlive the network.
Network load_network(const OpenModel& model, WeightFormat format, const ProgressFn& progress = {});

// For a pass over many tokens: float32 is decoded block by block, all else is held.
std::unique_ptr<const ForwardModel> forward_model(const OpenModel& model, WeightFormat format,
                                                  const ProgressFn& progress = {});

}  // namespace watersic
