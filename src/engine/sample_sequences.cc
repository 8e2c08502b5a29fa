#include "engine/sample_sequences.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/rng.h"
#include "engine/engine.h"
#include "engine/partly_held.h"
#include "engine/sampler.h"
#include "watersic/error.h"

namespace watersic {

std::vector<std::vector<int32_t>> sample_sequences(const Context& context,
                                                   const ModelConfig& config,
                                                   const WeightSource& source,
                                                   const SampleOptions& options) {
  ThreadPool& pool = context.pool();
  if (options.length < 1 || options.length > config.max_positions) {
    throw Error(
        fmt::format("expected a sequence length from 1 to {}, the model's context, found {}",
                    config.max_positions, options.length));
  }
  if (!(options.temperature > 0))
    throw Error(fmt::format("expected a temperature above 0, found {}", options.temperature));
  // The number of rows of a product may change the last bit of each. So the batch depends on the
  // model and the length only, and the last one is filled up with sequences that nobody sees.
  constexpr int64_t kMaxBatch = 32, kCacheBytes = int64_t{2} << 30;
  const int64_t sequence_bytes = Cache::bytes_for(config, CacheType::kFloat32, options.length);
  const int64_t batch = std::clamp<int64_t>(kCacheBytes / sequence_bytes, 1, kMaxBatch);

  std::vector<std::vector<int32_t>> texts(static_cast<size_t>(options.count),
                                          {options.first_token});
  if (options.count == 0 || options.length == 1) return texts;
  const PartlyHeld model(pool, config, source, options.weight_bytes);
  Engine engine(pool, model);
  std::vector<Sequence> sequences;
  for (int64_t i = 0; i < batch; ++i)
    sequences.emplace_back(config, CacheType::kFloat32, options.length - 1);
  const SamplerOptions sampler{.temperature = options.temperature};
  const uint64_t stream = Rng(options.seed).bits();
  const Communicator& ranks = context.ranks();
  const auto owner = [&](int64_t begin) { return static_cast<int>(begin / batch % ranks.size()); };
  for (int64_t begin = 0; begin < options.count; begin += batch) {
    if (owner(begin) != ranks.rank()) continue;
    const int64_t active = std::min(batch, options.count - begin);
    std::vector<Rng> rngs;
    for (int64_t i = 0; i < active; ++i)
      rngs.emplace_back(stream + static_cast<uint64_t>(begin + i));
    std::vector<int32_t> ids(static_cast<size_t>(batch), options.first_token);
    std::vector<Step> steps;
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].rewind(0);
      steps.push_back({.sequence = &sequences[i], .ids = std::span(ids).subspan(i, 1)});
    }
    for (int64_t t = 1; t < options.length; ++t) {
      context.check_if_alone();
      const Matrix<float> logits = engine.advance(steps);
      pool.parallel_for(active, [&](int64_t i) {
        const auto at = static_cast<size_t>(i);
        ids[at] = choose_token(logits.row(i), sampler, rngs[at].uniform());
        texts[static_cast<size_t>(begin) + at].push_back(ids[at]);
      });
      context.tell("sampling", "tokens", begin * (options.length - 1) + active * t,
                   options.count * (options.length - 1));
    }
  }
  for (int64_t i = 0; i < options.count; ++i) share(ranks, owner(i), texts[static_cast<size_t>(i)]);
  return texts;
}

}  // namespace watersic
