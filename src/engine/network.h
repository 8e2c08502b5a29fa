// A model that runs: its layers, however they are held. Knows no files.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/threads.h"
#include "model/block.h"
#include "model/config.h"
#include "model/linear_layer.h"
#include "model/weights.h"
#include "watersic/progress.h"

namespace watersic {

struct LayerBlock final : Block {
  const LinearLayer& layer(Linear which) const override {
    return *linear[static_cast<size_t>(which)];
  }
  std::array<std::shared_ptr<const LinearLayer>, kLinears> linear;  // by Linear
};

struct Network {
  ModelConfig config;
  std::shared_ptr<const LinearLayer> embedding;  // vocabulary x hidden
  std::vector<LayerBlock> blocks;
  std::vector<float> final_norm;
  std::shared_ptr<const LinearLayer> head;  // vocabulary x hidden; the embedding itself where tied

  const Operators* operators = &Operators::reference();

  void use(const Operators& with);  // in all blocks, too
  int64_t weight_bytes() const;     // what is shared counts once
};

// Makes the layer of a weight from its name and that of its bias ("" where it has none).
using MakeLayerFn = std::function<std::shared_ptr<const LinearLayer>(const std::string& weight,
                                                                     const std::string& bias)>;

// All layers of a model by `make`, norms from `source`; `progress` by blocks.
Network make_network(const ModelConfig& config, const WeightSource& source, const MakeLayerFn& make,
                     const ProgressFn& progress = {});

// In float32.
Network dense_network(const ModelConfig& config, const WeightSource& source,
                      const ProgressFn& progress = {});

}  // namespace watersic
