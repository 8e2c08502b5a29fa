#include "eval/score.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "model/forward.h"

namespace watersic {
namespace {

constexpr int64_t kLogitRows = 256;  // positions whose logits are in memory at once

struct Steps {
  const Context& context;
  int64_t total = 0, done = 0;
  void next() { context.tell("evaluating", "blocks", ++done, total); }
};

class Runner {
 public:
  explicit Runner(const ScoredModel& scored) : model_(*scored.model), states_(scored.states) {}
  // Blocks that a part of the windows takes.
  int64_t blocks() const { return stored() ? 0 : model_.config().blocks; }
  // As the last block leaves them: (windows * length) x hidden. `row`: where the first window
  // begins; the parts come in order.
  Matrix<float> run(ThreadPool& pool, std::span<const std::vector<int32_t>> windows, int64_t row,
                    Steps& steps) const {
    if (stored())
      return states_->read(row, static_cast<int64_t>(windows.size() * windows[0].size()));
    Matrix<float> hidden =
        forward_all({pool, [&](const ProgressEvent&) { steps.next(); }}, model_, windows);
    if (states_ != nullptr) states_->append(hidden);
    return hidden;
  }
  void finish() const {
    if (states_ != nullptr && !stored()) states_->commit();
  }
  Matrix<float> logits(ThreadPool& pool, MatrixView<const float> hidden, int64_t row,
                       int64_t rows) const {
    return model_.logits(pool, hidden.block(row, 0, rows, hidden.cols()));
  }

 private:
  bool stored() const { return states_ != nullptr && states_->complete(); }

  const ForwardModel& model_;
  StateFile* states_;
};

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

std::vector<TokenScore> score_windows(const Context& context, const ScoredWindows& windows,
                                      const ScoredModel& model, const ScoredModel* reference,
                                      int64_t hidden_values) {
  ThreadPool& pool = context.pool();
  const Runner runner(model);
  const std::optional<Runner> other =
      reference != nullptr ? std::optional<Runner>(*reference) : std::nullopt;
  const int64_t count = static_cast<int64_t>(windows.ids.size());
  const int64_t widest =
      std::max(model.model->config().hidden, reference ? reference->model->config().hidden : 0);
  const int64_t part = std::max<int64_t>(1, hidden_values / (windows.length * widest));

  // The output heads count as a block: with a large vocabulary they cost as much.
  Steps steps{
      .context = context,
      .total = tile_count(count, part) * (1 + runner.blocks() + (other ? other->blocks() : 0))};
  std::vector<TokenScore> scores;
  scores.reserve(static_cast<size_t>(windows.scored()));
  for (int64_t begin = 0; begin < count; begin += part) {
    const auto ids = std::span(windows.ids)
                         .subspan(static_cast<size_t>(begin),
                                  static_cast<size_t>(std::min(part, count - begin)));
    const int64_t first_row = begin * windows.length;
    const Matrix<float> hidden = runner.run(pool, ids, first_row, steps),
                        others = other ? other->run(pool, ids, first_row, steps) : Matrix<float>();
    for (size_t w = 0; w < ids.size(); ++w) {
      const int64_t row = static_cast<int64_t>(w) * windows.length;
      for (int64_t from = windows.first; from < windows.length - 1; from += kLogitRows) {
        const int64_t rows = std::min(kLogitRows, windows.length - 1 - from);
        const Matrix<float> logits = runner.logits(pool, hidden, row + from, rows),
                            reference_logits = other ? other->logits(pool, others, row + from, rows)
                                                     : Matrix<float>();
        const size_t at = scores.size();
        scores.resize(at + static_cast<size_t>(rows));
        pool.parallel_for(rows, [&](int64_t i) {
          scores[at + static_cast<size_t>(i)] =
              score_token(logits.row(i), other ? reference_logits.row(i) : std::span<const float>(),
                          ids[w][static_cast<size_t>(from + i + 1)]);
        });
      }
    }
    steps.next();
  }
  runner.finish();
  if (other) other->finish();
  return scores;
}

}  // namespace watersic
