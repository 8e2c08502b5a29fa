// Tokens chosen one after the other, each from what the model expects behind those before it.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "base/rng.h"
#include "engine/engine.h"
#include "engine/sampler.h"

namespace watersic {

struct GenerationOptions {
  SamplerOptions sampler;
  std::set<int32_t> ends;  // tokens that end the text
  int64_t tokens = 0;      // at most
};

struct Generation {
  std::vector<int32_t> ids;  // without the one that ended the text
  bool ended = false;        // by one of `ends`
  double prompt_seconds = 0, seconds = 0;
};

// Takes a token as it comes. False ends the text.
using TokenFn = std::function<bool(int32_t)>;

// Appends `prompt`, which is not empty, and what follows; the last token that is given is not
// appended any more. The sequence must have room for the prompt and one less than the tokens.
Generation generate_tokens(Engine& engine, Sequence& sequence, std::span<const int32_t> prompt,
                           const GenerationOptions& options, Rng& rng, const TokenFn& on_token);

}  // namespace watersic
