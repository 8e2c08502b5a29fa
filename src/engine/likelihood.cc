#include "engine/likelihood.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace watersic {

Likelihoods likelihoods(std::span<const float> logits, int32_t id, int64_t count) {
  const double top = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  const double scale = top + std::log(sum);
  const auto of = [&](int32_t token) {
    return static_cast<double>(logits[static_cast<size_t>(token)]) - scale;
  };
  Likelihoods out{.log_probability = of(id), .likeliest = {}};
  count = std::min(count, static_cast<int64_t>(logits.size()));
  if (count == 0) return out;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::ranges::partial_sort(ids, ids.begin() + count, [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  ids.resize(static_cast<size_t>(count));
  for (const int32_t token : ids) out.likeliest.push_back({token, of(token)});
  return out;
}

}  // namespace watersic
