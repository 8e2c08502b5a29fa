#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "watersic/error.h"

namespace watersic {
namespace {

// Of softmax(logits / temperature), summed in float64 in the order of the tokens.
int32_t sample_token(std::span<const float> logits, double temperature, double uniform) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  std::vector<double> cumulative(logits.size());
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    sum += std::exp((static_cast<double>(logits[i]) - top) / temperature);
    cumulative[i] = sum;
  }
  // The first token whose sum is above: one of probability 0 is never taken.
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), uniform * sum);
  return static_cast<int32_t>(
      std::min<int64_t>(found - cumulative.begin(), static_cast<int64_t>(logits.size()) - 1));
}

}  // namespace

void check_sampler(const SamplerOptions& o) {
  if (!(o.temperature >= 0) || std::isinf(o.temperature))
    throw Error(fmt::format("temperature: expected 0 or more, found {}", o.temperature));
  if (o.top_k < 0) throw Error(fmt::format("top-k: expected 0 or more, found {}", o.top_k));
  if (!(o.top_p > 0 && o.top_p <= 1))
    throw Error(fmt::format("top-p: expected more than 0 and at most 1, found {}", o.top_p));
  if (!(o.min_p >= 0 && o.min_p <= 1))
    throw Error(fmt::format("min-p: expected 0 to 1, found {}", o.min_p));
}

int32_t choose_token(std::span<const float> logits, const SamplerOptions& options, double uniform) {
  if (options.temperature == 0)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const auto size = static_cast<int64_t>(logits.size());
  const int64_t most = options.top_k > 0 ? std::min(options.top_k, size) : size;
  if (most == size && options.top_p == 1 && options.min_p == 0)
    return sample_token(logits, options.temperature, uniform);
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  const double top = static_cast<double>(*std::ranges::max_element(logits));
  const auto weight = [&](int32_t id) {
    const auto logit = static_cast<double>(logits[static_cast<size_t>(id)]);
    return std::exp((logit - top) / options.temperature);
  };
  double sum = 0, all = 0;  // of those in order, and of those that top_p speaks of
  if (most == size)
    for (const int32_t id : ids) all += weight(id);
  // The likeliest tokens in order, as many as can be chosen: sorting a whole vocabulary would take
  // as long as a small model's pass.
  std::vector<double> cumulative;
  constexpr int64_t kSome = 256;
  for (int64_t begin = 0, end = most < size ? most : std::min(size, kSome); begin < most;
       begin = end, end = std::min(most, 4 * end)) {
    std::partial_sort(ids.begin() + begin, ids.begin() + end, ids.end(), likelier);
    for (int64_t i = begin; i < end; ++i)
      cumulative.push_back(sum += weight(ids[static_cast<size_t>(i)]));
    if (most == size &&
        (sum >= options.top_p * all || weight(ids[static_cast<size_t>(end) - 1]) < options.min_p))
      break;
  }
  if (most < size) all = sum;
  // The first token stays, whatever is asked.
  const auto enough = std::ranges::lower_bound(cumulative, options.top_p * all);
  auto kept = std::min(cumulative.size(), static_cast<size_t>(enough - cumulative.begin()) + 1);
  while (kept > 1 && cumulative[kept - 1] - cumulative[kept - 2] < options.min_p) --kept;
  cumulative.resize(kept);
  const auto found = std::ranges::upper_bound(cumulative, uniform * cumulative.back());
  return ids[std::min(kept - 1, static_cast<size_t>(found - cumulative.begin()))];
}

}  // namespace watersic
