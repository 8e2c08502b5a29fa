// A model's layers, in the form in which they shall be held.
#pragma once

#include "engine/network.h"
#include "runtime/open_model.h"
#include "watersic/progress.h"
#include "watersic/running.h"

namespace watersic {

// `model` and `pool` must outlive the network.
Network load_network(const OpenModel& model, WeightFormat format, ThreadPool& pool,
                     const ProgressFn& progress = {});

// What its weights will take in memory, from their shapes alone.
int64_t network_bytes(const OpenModel& model, WeightFormat format);

}  // namespace watersic
