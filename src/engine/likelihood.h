// How likely the model finds tokens, whatever the sampler makes of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace watersic {

struct TokenLikelihood {
  int32_t id = 0;
  double log_probability = 0;  // natural
};

// Of softmax(logits), in float64: the token's, and then the `count` likeliest tokens in their
// order, of equal ones the first.
struct Likelihoods {
  double log_probability = 0;
  std::vector<TokenLikelihood> likeliest;
};
Likelihoods likelihoods(std::span<const float> logits, int32_t id, int64_t count);

}  // namespace watersic
