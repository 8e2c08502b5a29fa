#include "engine/cache.h"

#include "engine/float_cache.h"
#include "engine/paged_cache.h"

namespace watersic {

std::unique_ptr<Cache> Cache::make(const ModelConfig& config, CacheType type, int64_t capacity) {
  switch (type) {
    case CacheType::kFloat32:
      return std::make_unique<FloatCache>(config, capacity);
    case CacheType::kInt8:
      return std::make_unique<PagedCache<int8_t>>(config, capacity);
    case CacheType::kFloat16:
      break;
  }
  return std::make_unique<PagedCache<uint16_t>>(config, capacity);
}

int64_t Cache::bytes_for(const ModelConfig& config, CacheType type, int64_t tokens) {
  if (type == CacheType::kFloat32)
    return 2 * tokens * config.blocks * config.kv_size() * static_cast<int64_t>(sizeof(float));
  return tile_count(tokens, kernels::kPagePositions) *
         (type == CacheType::kInt8 ? PagedCache<int8_t>::page_bytes(config)
                                   : PagedCache<uint16_t>::page_bytes(config));
}

}  // namespace watersic
