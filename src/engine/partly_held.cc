#include "engine/partly_held.h"

namespace watersic {

PartlyHeld::PartlyHeld(ThreadPool& pool, const ModelConfig& config, const WeightSource& source,
                       int64_t weight_bytes)
    : loaded_(config, source) {
  int64_t each = 0;  // all blocks are of one size
  for (const LinearSite& site : linear_sites(config, 0))
    each += site.rows * (site.cols + (site.bias ? 1 : 0)) * static_cast<int64_t>(sizeof(float));
  for (int64_t index = 0; index < config.blocks && (index + 1) * each <= weight_bytes; ++index)
    held_.push_back(loaded_.block(pool, index));
}

std::shared_ptr<const Block> PartlyHeld::block(ThreadPool& pool, int64_t index) const {
  if (index < static_cast<int64_t>(held_.size())) return held_[static_cast<size_t>(index)];
  return loaded_.block(pool, index);
}

}  // namespace watersic
