#include "engine/generation.h"

#include <cassert>
#include <chrono>

namespace watersic {
namespace {

class Clock {
 public:
  // Since the last call.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace

Generation generate_tokens(Engine& engine, Sequence& sequence, std::span<const int32_t> prompt,
                           const GenerationOptions& options, Rng& rng, const TokenFn& on_token) {
  assert(!prompt.empty());
  Clock clock;
  Generation result;
  Matrix<float> logits = engine.advance({.sequence = &sequence, .ids = prompt});
  result.prompt_seconds = clock.lap();
  while (static_cast<int64_t>(result.ids.size()) < options.tokens) {
    const int32_t id = choose_token(logits.row(0), options.sampler, rng.uniform());
    result.ended = options.ends.contains(id);
    if (result.ended) break;
    result.ids.push_back(id);
    if (!on_token(id) || static_cast<int64_t>(result.ids.size()) == options.tokens) break;
    logits = engine.advance({.sequence = &sequence, .ids = {&id, 1}});
  }
  result.seconds = clock.lap();
  return result;
}

}  // namespace watersic
