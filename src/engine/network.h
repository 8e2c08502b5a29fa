// A model that runs: its layers, however they are held. Knows no files.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/threads.h"
#include "model/block.h"
#include "model/config.h"
#include "model/forward.h"
#include "model/linear_layer.h"
#include "model/weights.h"

namespace watersic {

struct LayerBlock final : Block {
  const LinearLayer& layer(Linear which) const override {
    return *linear[static_cast<size_t>(which)];
  }
  std::array<std::shared_ptr<const LinearLayer>, kLinears> linear;  // by Linear
};

// Makes the layer of a weight from its name and that of its bias ("" where it has none).
using MakeLayerFn = std::function<std::shared_ptr<const LinearLayer>(const std::string& weight,
                                                                     const std::string& bias)>;

class Network final : public ForwardModel {
 public:
  const ModelConfig& config() const override { return config_; }
  int64_t independent_tokens() const override;
  Matrix<float> embed(ThreadPool& pool, std::span<const int32_t> ids) const override;
  std::shared_ptr<const Block> block(ThreadPool& /*pool*/, int64_t index) const override {
    return blocks_[static_cast<size_t>(index)];
  }
  Matrix<float> logits(ThreadPool& pool, MatrixView<const float> X) const override;
  int64_t weight_bytes() const;          // what is shared counts once
  void use(const Operators& operators);  // the reference's at first

 private:
  friend Network make_network(const Context&, const ModelConfig&, const WeightSource&,
                              const MakeLayerFn&);
  ModelConfig config_;
  std::shared_ptr<const LinearLayer> embedding_;  // vocabulary x hidden
  std::vector<std::shared_ptr<LayerBlock>> blocks_;
  std::vector<float> final_norm_;
  const Operators* operators_ = &Operators::reference();
  std::shared_ptr<const LinearLayer> head_;  // vocabulary x hidden; the embedding itself where tied
};

// All layers of a model by `make`, norms from `source`; progress by blocks.
Network make_network(const Context& context, const ModelConfig& config, const WeightSource& source,
                     const MakeLayerFn& make);

// In float32.
Network dense_network(const Context& context, const ModelConfig& config,
                      const WeightSource& source);

}  // namespace watersic
