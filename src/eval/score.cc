#include "eval/score.h"

#include <algorithm>
#include <cmath>

namespace watersic {
namespace {

constexpr int64_t kLogitRows = 256;  // positions whose logits are in memory at once

}  // namespace

double log_sum_exp(std::span<const float> x) {
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const float v : x) sum += std::exp(static_cast<double>(v) - largest);
  return largest + std::log(sum);
}

TokenScore score_token(std::span<const float> logits, std::span<const float> reference,
                       int32_t target) {
  const auto at = static_cast<size_t>(target);
  TokenScore score;
  const double normaliser = log_sum_exp(logits);
  score.nll = normaliser - logits[at];
  if (reference.empty()) return score;
  const double reference_normaliser = log_sum_exp(reference);
  score.reference_nll = reference_normaliser - reference[at];
  for (size_t i = 0; i < logits.size(); ++i) {
    const double log_p = reference[i] - reference_normaliser, log_q = logits[i] - normaliser;
    score.kl += std::exp(log_p) * (log_p - log_q);
  }
  score.same_top = std::max_element(logits.begin(), logits.end()) - logits.begin() ==
                   std::max_element(reference.begin(), reference.end()) - reference.begin();
  return score;
}

std::vector<TokenScore> score_windows(ThreadPool& pool, const ScoredWindows& windows,
                                      const ScoredModel& model, const ScoredModel& reference,
                                      const ProgressFn& progress) {
  std::vector<TokenScore> scores;
  scores.reserve(static_cast<size_t>(windows.scored()));
  const int64_t last = windows.length - 1;
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    for (int64_t from = windows.first; from < last; from += kLogitRows) {
      const int64_t count = std::min(kLogitRows, last - from),
                    row = static_cast<int64_t>(w) * windows.length + from;
      const auto logits_of = [&](const ScoredModel& m) {
        return m.head == nullptr
                   ? Matrix<float>()
                   : m.head->logits(pool, m.hidden.block(row, 0, count, m.hidden.cols()));
      };
      const Matrix<float> logits = logits_of(model), others = logits_of(reference);
      std::vector<TokenScore> batch(static_cast<size_t>(count));
      pool.parallel_for(count, [&](int64_t i) {
        batch[static_cast<size_t>(i)] =
            score_token(logits.row(i), others.empty() ? std::span<const float>() : others.row(i),
                        windows.ids[w][static_cast<size_t>(from + i + 1)]);
      });
      scores.insert(scores.end(), batch.begin(), batch.end());
    }
    if (progress) {
      progress({.stage = "scoring",
                .unit = "windows",
                .done = static_cast<int64_t>(w) + 1,
                .total = static_cast<int64_t>(windows.ids.size())});
    }
  }
  return scores;
}

}  // namespace watersic
