// A model in float32 that need not fit into the memory: what is not held is loaded again at every
// pass.
#pragma once

#include <memory>
#include <vector>

#include "model/forward.h"

namespace watersic {

class PartlyHeld final : public ForwardModel {
 public:
  // Holds the first blocks, as far as `weight_bytes` reaches, and the output head. Both must
  // outlive the object.
  PartlyHeld(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
             int64_t weight_bytes);

  const ModelConfig& config() const override { return loaded_.config(); }
  Matrix<float> embed(ThreadPool& pool, std::span<const int32_t> ids) const override {
    return loaded_.embed(pool, ids);
  }
  std::shared_ptr<const Block> block(ThreadPool& pool, int64_t index) const override;
  Matrix<float> logits(ThreadPool& pool, MatrixView<const float> X) const override {
    return loaded_.logits(pool, X);
  }

 private:
  LoadedModel loaded_;
  std::vector<std::shared_ptr<const Block>> held_;
};

}  // namespace watersic
