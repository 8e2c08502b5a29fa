// A model's layers, in the form in which they shall be held.
#pragma once

#include <memory>

#include "base/context.h"
#include "engine/network.h"
#include "runtime/open_model.h"
#include "watersic/running.h"

namespace watersic {

// All layers, ready to run. `model` must outlive the network.
Network load_network(const Context& context, const OpenModel& model, WeightFormat format);

// What its weights will take in memory, before anything is loaded; of packed ones an estimate.
int64_t network_bytes(const OpenModel& model, WeightFormat format);

// For a pass over many tokens: float32 is decoded block by block, all else is held.
std::unique_ptr<const ForwardModel> forward_model(const Context& context, const OpenModel& model,
                                                  WeightFormat format);

}  // namespace watersic
