// How likely a model finds tokens that are given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace watersic {

// Tokens from `first` (at least 1) on are scored, each given all before it.
struct ScoredSequence {
  std::vector<int32_t> tokens;
  size_t first = 0;
};

struct ScoredToken {
  double log_probability = 0;  // natural
  bool likeliest = false;      // no token is more likely, and of equal ones none has a lower id

  bool operator==(const ScoredToken&) const = default;
};

}  // namespace watersic
